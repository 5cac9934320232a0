"""Options of a setting beyond a plain run of a sampler; each is off unless it is named."""

from dataclasses import dataclass

from mcdm_core.sampling.choose import check_choice
from mcdm_core.sampling.langevin import check_langevin
from mcdm_core.sampling.particles import check_particles

LIFTS = "lifts"
RUN = "run"


@dataclass(frozen=True)
class Langevin:
    """Corrections between the steps, see `sample_langevin`.

    Attributes:
        corrections: K, their number at each level; 0 makes none.
        ratio: r, the step as a share of σ², above 0 and at most 1.

    Raises:
        ValueError: If a number cannot be used.
    """

    corrections: int = 1
    ratio: float = 0.1

    def __post_init__(self) -> None:
        check_langevin(self.corrections, self.ratio)


@dataclass(frozen=True)
class Particles:
    """Every picture is one of several particles of its condition, see `sample_particles`.

    Attributes:
        count: Number of particles, 2 or more; one of them becomes the picture, whose rows are those of all.
        resample_below: Resample when the effective sample size falls below this share of `count`, 0…1.
        limit: Largest change of a log weight in one step.

    Raises:
        ValueError: If a number cannot be used.
    """

    count: int = 4
    resample_below: float = 0.5
    limit: float = 1.0

    def __post_init__(self) -> None:
        check_particles(self.count, self.resample_below, self.limit)


@dataclass(frozen=True)
class Choice:
    """Every picture is the best of several candidates, the first of which is the picture of a plain run.

    Attributes:
        of: Number of candidates, 2 or more.
        by: "lifts" lets the experts choose, see `measure_lifts`; so does "run", from the candidates' own passes (see
            `Lifts`), at no extra row. The name of a measure, "mIoU" say, chooses the largest value of it, the ceiling
            of any choice.
        levels: Noise levels of "lifts", 1 or more; each costs 2 rows per expert and candidate.

    Raises:
        ValueError: If a number cannot be used.
    """

    of: int = 4
    by: str = LIFTS
    levels: int = 8

    def __post_init__(self) -> None:
        check_choice(1, self.of)
        if self.levels < 1:
            raise ValueError(f"Expected 1 or more noise levels to choose by and got {self.levels}; set 8, say.")

    @property
    def by_reader(self) -> bool:
        """Whether a measure chooses, after all candidates are drawn."""
        return self.by not in (LIFTS, RUN)

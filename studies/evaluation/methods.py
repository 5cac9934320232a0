"""Options of a setting beyond a plain run of a sampler; each is off unless it is named."""

from dataclasses import dataclass

from mcdm_core.sampling.choose import check_choice

RUN = "run"


@dataclass(frozen=True)
class Choice:
    """Every picture is the best of several candidates, the first of which is the picture of a plain run.

    Attributes:
        of: Number of candidates, 2 or more.
        by: "run" lets the experts choose, from the candidates' own passes (see `LiftScores`), at no extra row. The name
            of a measure, "mIoU" say, chooses the largest value of it, the ceiling of any choice.

    Raises:
        ValueError: If a number cannot be used.
    """

    of: int = 4
    by: str = RUN

    def __post_init__(self) -> None:
        check_choice(1, self.of)

    @property
    def by_reader(self) -> bool:
        """Whether a measure chooses, after all candidates are drawn."""
        return self.by != RUN

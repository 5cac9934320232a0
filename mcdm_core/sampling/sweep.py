"""Sweeps: one product at many reliabilities, guidance weights and seeds, as a labelled grid.

The figures of the paper that vary the reliability are such grids (Figs. 6 and 9–12), and so is the interpolation from
one condition to another (Fig. 7). All cells of a seed start from the same noise.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple, NoReturn, TypeVar

from PIL import Image

from ..pictures import labelled_grid
from ..product.rules.coefficients import is_one
from ..product.terms.term_numbers import TermError, TermNumbers

logger = logging.getLogger(__name__)

AnyTerm = TypeVar("AnyTerm", bound=TermNumbers)

MOST_ACROSS = 50  # rows of a grid, and columns
NOT_SAMPLED = "not sampled"
SHARES = 'Expected values from 0 to 1, such as "0, 0.5, 1", or "0-1 [5]" for five of them evenly from 0 to 1'
"""How a refusal of values begins that aren't shares."""


class Varied(Enum):
    """What a value v sets; but for ABSOLUTE it is from 0 to 1, and 1 − v belongs to the others together."""

    RELIABILITY = "reliability"
    """a = v for the chosen expert; the others share 1 − v in proportion to their own reliabilities, see
    `reliabilities_at`."""
    WEIGHT = "weight"
    """The chosen expert's w is multiplied by v, the others' by 1 − v."""
    BOTH = "reliability and weight"
    """Reliability and weight at once: from the product of the others (v = 0) to the chosen expert alone (v = 1)."""
    ABSOLUTE = "absolute weight"
    """w = v for the chosen expert, any number; the others keep their weights."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(
            f"Expected to vary one of {', '.join(each.value for each in cls)} and got {value}; choose one."
        )


class Cell(NamedTuple):
    """One cell of a grid.

    Attributes:
        value: v, see `Varied`.
        factor: What all weights are multiplied by.
        seed: Seed of the noise.
    """

    value: float
    factor: float
    seed: int


class Swept(NamedTuple):
    """How labels name the chosen expert.

    Attributes:
        label: In full, above the rows.
        name: In short, at a row.
        has_others: Whether there are other experts.
    """

    label: str
    name: str
    has_others: bool = True


@dataclass(frozen=True)
class Sweep:
    """A grid: values downwards; seeds, and for each of them guidance factors, across.

    Attributes:
        expert: Index of the chosen expert, from 0.
        values: Values v, one per row.
        seeds: Seeds of the noise.
        varied: What v sets.
        factors: Factors of all weights.

    Raises:
        ValueError: If there are no values, factors or seeds, too many for a grid, or a share is outside 0…1.
    """

    expert: int
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    varied: Varied = Varied.RELIABILITY
    factors: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        columns = len(self.seeds) * len(self.factors)
        if not (1 <= len(self.values) <= MOST_ACROSS and 1 <= columns <= MOST_ACROSS):
            raise ValueError(
                f"Expected 1 to {MOST_ACROSS} values, and 1 to {MOST_ACROSS} columns of seeds × guidance, and got "
                f"{len(self.values)} values and {len(self.seeds)} × {len(self.factors)} columns; sweep in parts."
            )
        if self.varied is not Varied.ABSOLUTE and not all(0 <= value <= 1 for value in self.values):
            raise ValueError(f"{SHARES}, and got {', '.join(f'{v:g}' for v in self.values)}; correct them.")

    def rows(self) -> list[list[Cell]]:
        """The cells, row by row of the grid."""
        columns = [(factor, seed) for seed in self.seeds for factor in self.factors]
        return [[Cell(value, *column) for column in columns] for value in self.values]

    def cells(self) -> list[Cell]:
        """All cells in one list, row by row."""
        return [cell for row in self.rows() for cell in row]

    def at(self, experts: Sequence[AnyTerm], cell: Cell) -> tuple[AnyTerm, ...]:
        """The experts with a cell's weights and reliabilities.

        Args:
            experts: The experts with their own weights and reliabilities.
            cell: One of this sweep's.

        Raises:
            ValueError: If there is no such expert, or no other one that the rest of the reliability can go to.
        """
        self.check_expert(len(experts))
        weights = [expert.weight for expert in experts]
        reliabilities = tuple(expert.reliability for expert in experts)
        if self.varied is Varied.ABSOLUTE:
            weights[self.expert] = cell.value
        elif self.varied is not Varied.RELIABILITY:
            shares = [cell.value if i == self.expert else 1 - cell.value for i in range(len(experts))]
            weights = [w * share for w, share in zip(weights, shares, strict=True)]
        if self.varied in (Varied.RELIABILITY, Varied.BOTH):
            reliabilities = reliabilities_at(cell.value, self.expert, reliabilities)
        changed = zip(experts, weights, reliabilities, strict=True)
        return tuple(replace(expert, weight=w * cell.factor, reliability=a) for expert, w, a in changed)

    def as_swept(self, experts: Sequence[AnyTerm]) -> tuple[AnyTerm, ...]:
        """The experts, the chosen one with the largest of its weights, if its own counts in no cell.

        Args:
            experts: As in `at`, which gives the same for these.
        """
        if self.varied is not Varied.ABSOLUTE:
            return tuple(experts)
        largest = max(self.values, key=abs)
        return tuple(replace(e, weight=largest) if i == self.expert else e for i, e in enumerate(experts))

    def check_expert(self, count: int) -> None:
        """Refuse a sweep whose chosen expert is not among `count` experts.

        Raises:
            ValueError: If it is not.
        """
        if not 0 <= self.expert < count:
            raise ValueError(
                f"Expected the number of an expert from 1 to {count} to sweep and got {self.expert + 1}; count from "
                "the first expert."
            )

    def check(self, experts: Sequence[TermNumbers]) -> None:
        """Refuse experts that some cell cannot use, and warn where the swept reliability changes nothing.

        Args:
            experts: As in `at`; masks and windows are ignored.

        Raises:
            ValueError: As `at`.
        """
        totals = [sum(expert.weight for expert in self.at(experts, cell)) for cell in self.cells()]
        masked = any(getattr(expert, "mask", None) is not None for expert in experts)
        if self.varied is Varied.RELIABILITY and not masked and any(is_one(total) for total in totals):
            logger.warning(
                "Where the weights sum to 1 negatives cancel, so that the reliability changes nothing; raise the "
                "weights or the guidance factors."
            )

    def check_cells(self, experts: Sequence[AnyTerm], check: Callable[[Sequence[AnyTerm]], object]) -> None:
        """Refuse a sweep with a cell that can't be sampled.

        Args:
            experts: As in `at`.
            check: Refuses experts by a ValueError; seeds change nothing about that.

        Raises:
            ValueError: If it refuses a cell; the sentence names its value, unless it refuses the experts as they are
                for the same: then it is that refusal, a TermError perhaps.
        """
        for cell in self.cells():
            if cell.seed != self.seeds[0]:
                continue
            swept = self.at(experts, cell)
            try:
                check(swept)
            except ValueError as error:
                _check_unswept(experts, check, error)
                raise ValueError(self._refusal(error, cell, experts)) from None

    def _refusal(self, error: ValueError, cell: Cell, experts: Sequence[TermNumbers]) -> str:
        value = f"{cell.value:g}"
        if not isinstance(error, TermError) or error.input != "reliability":
            guidance = "" if self.factors == (1.0,) else f" and the guidance {cell.factor:g}"
            return f"At the value {value}{guidance} of this sweep: {error}"
        refused, chosen = experts[error.index].label, experts[self.expert].label
        where = "alone" if error.index == self.expert else f"without {chosen}"
        return f"The value {value} leaves {refused} no reliability where it acts {where}; leave {value} out of values."

    def row_label(self, value: float, expert: Swept) -> str:
        """Label of a row: the number that it sets, or whose picture it shows."""
        if self.varied in (Varied.RELIABILITY, Varied.ABSOLUTE):
            return f"{'reliability' if self.varied is Varied.RELIABILITY else 'weight'} {value:.4g}"
        if not expert.has_others:
            return f"weight × {value:.4g}"
        shared = f"{100 * value:.4g} % {expert.name}, {100 * (1 - value):.4g} % others"
        return {0.0: "others only", 0.5: "half each", 1.0: f"{expert.name} only"}.get(value, shared)

    def title(self, expert: Swept) -> str:
        """Title above the rows: whose reliability it is, or who shares what with the others."""
        return expert.label if self.varied is Varied.RELIABILITY else f"{expert.label}\n{self.varied.value}"

    def column_label(self, cell: Cell) -> str:
        """Label of a column."""
        seed = f"seed {cell.seed}"
        if self.factors == (1.0,):
            return seed
        return f"{seed}\nall weights × {cell.factor:.4g}"


def _check_unswept(
    experts: Sequence[AnyTerm], check: Callable[[Sequence[AnyTerm]], object], of_cell: ValueError
) -> None:
    """Refuse the experts as they are, if it is for what a cell was refused for."""
    try:
        check(experts)
    except ValueError as error:
        if _cause(error) == _cause(of_cell):
            raise


def _cause(error: ValueError) -> object:
    return (error.index, error.input) if isinstance(error, TermError) else str(error)


def reliabilities_at(value: float, expert: int, reliabilities: Sequence[float]) -> tuple[float, ...]:
    """Set a = v for one expert; the others share 1 − v in proportion to their reliabilities, or equally if all are 0.

    Args:
        value: v, 0…1.
        expert: Index of the expert.
        reliabilities: a_i ≥ 0 of all experts.

    Returns:
        As many reliabilities, with the sum 1.

    Raises:
        ValueError: If v < 1 and there is no other expert.
    """
    if value < 1 and len(reliabilities) < 2:
        raise ValueError(
            f"Expected another expert, to take the rest where expert {expert + 1} has the reliability {value:g}, and "
            "got none; add one, or sweep the weight instead."
        )
    others = [a for i, a in enumerate(reliabilities) if i != expert]
    shares = reliabilities if sum(others) > 0 else [1.0] * len(reliabilities)
    rest = (1 - value) / (sum(others) or len(others)) if value < 1 else 0.0
    return tuple(value if i == expert else share * rest for i, share in enumerate(shares))


def sweep_grid(
    sweep: Sweep,
    expert: Swept,
    pictures: Mapping[Cell, Image.Image],
    tile: int | None = None,
    reference: Image.Image | None = None,
) -> Image.Image:
    """Lay out a sweep.

    Args:
        sweep: The sweep.
        expert: The chosen expert.
        pictures: Pictures by cell; a cell without one shows a note.
        tile: Side of a tile in pixels, see `labelled_grid`.
        reference: A square picture to compare with, in a row of its own above the others.
    """
    rows = sweep.rows()
    columns = [sweep.title(expert), *(sweep.column_label(cell) for cell in rows[0])]
    tiles: list[list[Image.Image | str]] = [
        [sweep.row_label(row[0].value, expert), *(pictures.get(cell, NOT_SAMPLED) for cell in row)] for row in rows
    ]
    if reference is not None:
        tiles.insert(0, ["reference", reference, *[""] * (len(rows[0]) - 1)])
    return labelled_grid(columns, tiles, tile)

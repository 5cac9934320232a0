"""Cells of a picture: what is sampled in each, and the grid of what came out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from tqdm import tqdm

from mcdm_core.pictures import labelled_grid, to_picture
from mcdm_core.product.rules.eq10 import EQ10
from mcdm_core.product.rules.rule import Rule
from mcdm_core.product.terms.term import Term
from mcdm_core.sampling import sample_product


@dataclass(frozen=True, eq=False)
class Run:
    """One picture that is to be sampled.

    Attributes:
        terms: The experts, each with the condition of one picture; the first gives the size.
        seed: Seed of the start noise.
        steps: DDIM steps.
        eta: η of DDIM: 1 is ancestral sampling, 0 its ODE.
        rule: How predictions are combined.
    """

    terms: Sequence[Term]
    seed: int
    steps: int
    eta: float = 1.0
    rule: Rule = EQ10

    def picture(self) -> Image.Image:
        """Sample it, from the noise that `python -m mcdm_core sample --seed` starts from and adds.

        Raises:
            ValueError: As `sample_product`.
        """
        expert = self.terms[0].expert
        noise = torch.randn(1, *expert.sample_shape, generator=torch.Generator().manual_seed(self.seed))
        added = torch.Generator().manual_seed(self.seed + 1)  # with the seed itself, step 1 would add the start noise
        sample = sample_product(
            self.terms, noise, str(self.steps), generator=added, rule=self.rule, settings=(), eta=self.eta
        )
        return to_picture(expert.decode(sample)[0])


Cell = Run | Image.Image | str


def at_most(steps: int, most: int) -> int:
    """So many steps, but no more than `most`; 0 is no limit."""
    return min(steps, most) if most else steps


def drawn_grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], tile: int) -> Image.Image:
    """Sample all runs of a grid and lay it out.

    Args:
        title: Label of the progress bar.
        columns: A title per column.
        rows: What stands in each row, a cell per column.
        tile: Side of a cell in pixels.

    Raises:
        ValueError: As `labelled_grid` and `Run.picture`.
    """
    with tqdm(total=sum(isinstance(cell, Run) for row in rows for cell in row), desc=title) as bar:

        def shown(cell: Cell) -> Image.Image | str:
            if not isinstance(cell, Run):
                return cell
            picture = cell.picture()
            bar.update()
            return picture

        return labelled_grid(columns, [[shown(cell) for cell in row] for row in rows], tile)

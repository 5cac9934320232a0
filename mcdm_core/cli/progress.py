"""Progress of sampling on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from tqdm import tqdm

from ..sampling.types import Callback


@contextmanager
def progress_bar(title: str, steps: int) -> Iterator[Callback]:
    """Show a bar on stderr.

    Args:
        title: Label of the bar.
        steps: Number of network evaluations.

    Yields:
        A callback for the samplers that moves the bar by one step.
    """
    with tqdm(total=steps, desc=title) as bar:

        def advance(step: int, sigma: float, denoised: Tensor) -> None:
            bar.update()

        yield advance

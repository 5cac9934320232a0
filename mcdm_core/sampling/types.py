"""What samplers ask for and report."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

Callback = Callable[[int, float, Tensor], None]
"""Called after each network evaluation with the step's index, its noise level and the predicted x0."""


class Denoiser(Protocol):
    """Anything that predicts x0."""

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """x0 predicted from x = x0 + σ·n, shape of x."""


class VarianceDenoiser(Denoiser, Protocol):
    """A denoiser whose network has learned the variance of a step."""

    def with_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """x0, and v in −1…1 that places the log variance between its bounds."""

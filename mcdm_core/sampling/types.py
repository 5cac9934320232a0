"""Protocols of samplers and of the denoisers that they call, and the callback that they report to."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..product.evaluation.plan import Predictions
from ..product.plans.separate import Weigh

Callback = Callable[[int, float, Tensor], None]
"""Called once in each step with its index, its noise level and the x0 predicted there."""


class Denoiser(Protocol):
    """Anything that predicts x0."""

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """x0 predicted from x = x0 + σ·n, shape of x."""


@runtime_checkable
class VarianceDenoiser(Denoiser, Protocol):
    """A denoiser whose network may have learned the variance of a step."""

    def with_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """x0, and v in −1…1 that places the log variance between its bounds, or None."""


@runtime_checkable
class TermsDenoiser(Denoiser, Protocol):
    """A denoiser that takes weights from its caller and returns each expert's own prediction, as a product does."""

    def with_terms(self, x: Tensor, sigma: Tensor | float, weigh: Weigh) -> tuple[Tensor, Predictions]:
        """x0 = Σ ω_i D_i, clamped to −1…1 if it is of pixels, ω from `weigh`; and D_i of each expert that acts."""


class Sampler(Protocol):
    """Signature of every `sample_…`; a sampler's own options are further keywords, to bind by `partial`."""

    def __call__(
        self,
        denoiser: Denoiser,
        x: Tensor,
        sigmas: Sequence[float] | Tensor,
        *,
        generator: torch.Generator | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Sample.

        Args:
            denoiser: Predicts x0.
            x: First sample, x0 + sigmas[0]·n, shape (B, …).
            sigmas: Noise levels above 0, the last one usually 0; a step leads from each to the next. They fall, or the
                sampler is one that lets them rise.
            generator: Source of the noise added on the way; its numbers are drawn on the generator's device.
            callback: See `Callback`.

        Returns:
            Sample at the last noise level, shape of x.
        """

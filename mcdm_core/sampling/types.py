"""What a sampler is, what it asks for and what it reports."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..product.plan import Factor, Predictions
from ..product.separate import Weigh

Callback = Callable[[int, float, Tensor], None]
"""Called after each network evaluation with the step's index, its noise level and the predicted x0."""


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
class FactorsDenoiser(Denoiser, Protocol):
    """A denoiser that knows of what its prediction is made, as every product does."""

    def with_factors(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, list[Factor]]:
        """x0, and the factors whose sum Σ c_k D_k it is but for a clamp."""

    def resample(self, ancestors: Tensor) -> None:
        """Take that each sample of the batch goes on as the one of this index, shape (B,), with all that is kept."""


@runtime_checkable
class TermsDenoiser(Denoiser, Protocol):
    """A denoiser that can be told how to combine its experts, and shows what each predicts alone, as a product does."""

    def with_terms(self, x: Tensor, sigma: Tensor | float, weigh: Weigh) -> tuple[Tensor, Predictions]:
        """x0 = Σ ω_i D_i but for a clamp, with ω as `weigh` says, and D_i of the experts that act, by their index."""

    def resample(self, ancestors: Tensor) -> None:
        """See `FactorsDenoiser`."""


class Sampler(Protocol):
    """What every `sample_…` is; options of its own are further keywords with defaults, bound by `functools.partial`."""

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
            x: Start, x0 + sigmas[0]·n, shape (B, …).
            sigmas: Descending noise levels, the last one usually 0; one network evaluation for each but the last.
            generator: Source of the noise added on the way; its numbers are drawn on the generator's device.
            callback: See `Callback`.

        Returns:
            Sample at the last noise level, shape of x.
        """

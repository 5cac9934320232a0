"""The loop over noise levels, which every sampler here shares: a sampler says what one step is."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..diffusion.schedule import levels_of
from .types import Callback, Denoiser


def noise_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise like x, drawn on the generator's device: a CPU seed gives the same noise anywhere."""
    device = generator.device if generator is not None else x.device
    return torch.randn(x.shape, dtype=x.dtype, device=device, generator=generator).to(x.device)


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a run, from one noise level to the next.

    Attributes:
        number: How many steps came before.
        sigma: σ.
        sigma_next: σ', below σ or the same; above it only for a sampler that `may_rise`.
        generator: Source of the noise that is added.
        callback: See `report`.
    """

    number: int
    sigma: float
    sigma_next: float
    generator: torch.Generator | None
    callback: Callback | None

    def report(self, denoised: Tensor) -> None:
        """Tell the run's callback x0 as it is predicted at σ; every step does, once that is known."""
        if self.callback is not None:
            self.callback(self.number, self.sigma, denoised)


@dataclass(eq=False)
class StepwiseSampler(ABC):
    """A `Sampler` that is given by one step. Its fields are its options: `sample_ddim(…, eta=1.0)`, or `DDIM(eta=1.0)`.

    Attributes:
        may_rise: Whether it can step from a noise level to a higher one.
    """

    may_rise: ClassVar[bool] = False

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        x: Tensor,
        sigmas: Sequence[float] | Tensor,
        *,
        generator: torch.Generator | None = None,
        callback: Callback | None = None,
        **options: Any,
    ) -> Tensor:
        """Sample, see `Sampler`; the options are other values of its fields, for this run.

        Raises:
            ValueError: If it has no such option or can't use its value; if it can't step along these noise levels; or
                if the denoiser lacks what it needs.
        """
        self._check_options(options)
        levels = levels_of(sigmas)
        self._check_levels(levels)
        sampler = replace(self, **options)  # a copy for this run, which may keep something from step to step
        x = sampler.begin(x)
        for number, (sigma, sigma_next) in enumerate(pairwise(levels)):
            x = sampler.step(denoiser, x, Step(number, sigma, sigma_next, generator, callback))
        return x

    def _check_options(self, names: Iterable[str]) -> None:
        known = [field.name for field in fields(self) if field.init]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"Expected no options of {type(self).__name__} but those that it takes ({', '.join(known) or 'none'}) "
                f"and got {', '.join(unknown)}; leave that out, or choose another sampler."
            )

    def _check_levels(self, levels: Sequence[float]) -> None:
        for number, level in enumerate(levels, 1):
            if not (0 < level < math.inf or (level == 0 and number == len(levels))):
                raise ValueError(
                    f"Expected finite noise levels above 0, but for a last one that may be 0, and got {level:g} as "
                    f"number {number} of {len(levels)}; correct it, or leave it out."
                )
        for before, after in pairwise(levels):
            if after > before and not self.may_rise:
                raise ValueError(
                    f"Expected noise levels that fall for {type(self).__name__} and got {after:g} after {before:g}; "
                    "sort them, or choose ddim, which can go back to noise."
                )

    def begin(self, x: Tensor) -> Tensor:
        """The sample that a run starts from; a sampler that keeps state prepares it here."""
        return x

    @abstractmethod
    def step(self, denoiser: Denoiser, x: Tensor, step: Step) -> Tensor:
        """Step from the sample at σ, x0 + σ·n, shape (B, …), to that at σ', of the same shape.

        A step to σ' = 0 returns the prediction, and draws no noise.

        Raises:
            ValueError: If the denoiser lacks what the sampler needs of it.
        """

"""The loop over noise levels, which every sampler here shares: a sampler says what one step is."""

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
        sigma_next: σ', below σ or the same.
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
        keeps_state: Whether it keeps something from step to step; then every run has a copy of it, which `begin`
            prepares.
    """

    keeps_state: ClassVar[bool] = False

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
            ValueError: If it has no such option or can't use its value, or if the denoiser lacks what the sampler
                needs of it.
        """
        self._check_options(options)
        sampler = replace(self, **options) if options or self.keeps_state else self
        x = sampler.begin(x)
        for number, levels in enumerate(pairwise(levels_of(sigmas))):
            x = sampler.step(denoiser, x, Step(number, *levels, generator, callback))
        return x

    def _check_options(self, names: Iterable[str]) -> None:
        known = [field.name for field in fields(self) if field.init]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"Expected no options of {type(self).__name__} but those that it takes ({', '.join(known) or 'none'}) "
                f"and got {', '.join(unknown)}; leave that out, or choose another sampler."
            )

    def begin(self, x: Tensor) -> Tensor:
        """The sample that a run starts from; a sampler that keeps state prepares it here."""
        return x

    @abstractmethod
    def step(self, denoiser: Denoiser, x: Tensor, step: Step) -> Tensor:
        """Step from the sample at σ, x0 + σ·n, shape (B, …), to that at σ', of the same shape.

        Raises:
            ValueError: If the denoiser lacks what the sampler needs of it.
        """

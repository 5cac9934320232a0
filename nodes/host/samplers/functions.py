"""The signature of ComfyUI's sampler functions, and its arguments as one object for this pack's samplers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

from ..comfyui.step_reports import StepReport
from ..evaluation.noise_levels import Form, form_of

Options = ParamSpec("Options")


@dataclass(frozen=True, eq=False)
class Sampling:
    """The arguments that ComfyUI gives a sampler function.

    Attributes:
        model: Predicts x0 as `model(x, sigma, **extra_args)`.
        x: Start, x0 + sigmas[0]·n, shape (B, C, …).
        sigmas: Descending noise levels, shape (S + 1,).
        extra_args: Passed to the model.
        callback: Called after each step with a dictionary, as ComfyUI's samplers do.
        disable: Whether to hide the progress bar in the log.
    """

    model: Any
    x: Tensor
    sigmas: Tensor
    extra_args: dict[str, Any]
    callback: StepReport | None
    disable: bool | None

    @property
    def schedule(self) -> Any:
        """The model_sampling of the MODEL, a product's reference."""
        return self.model.inner_model.inner_model.model_sampling

    @functools.cached_property
    def form(self) -> Form:
        """That MODEL's form of x."""
        return form_of(self.schedule, self.x.shape)

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        """The model's x0, shape of x, which is (B, C, …)."""
        prediction: Tensor = self.model(x, x.new_full((len(x),), sigma), **self.extra_args)
        return prediction

    def generator(self, offset: int) -> torch.Generator:
        """Noise of the run's seed.

        Args:
            offset: Added to the seed, at least 1: the start noise is drawn from the seed itself.
        """
        return torch.Generator().manual_seed(((self.extra_args.get("seed") or 0) + offset) % 2**64)


def sampler_function(sample: Callable[Concatenate[Sampling, Options], Tensor]) -> Callable[..., Tensor]:
    """Give a function of a `Sampling` and options ComfyUI's signature."""

    def function(
        model: Any,
        x: Tensor,
        sigmas: Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: StepReport | None = None,
        disable: bool | None = None,
        *args: Options.args,
        **options: Options.kwargs,
    ) -> Tensor:
        return sample(Sampling(model, x, sigmas, extra_args or {}, callback, disable), *args, **options)

    functools.update_wrapper(function, sample, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    del function.__wrapped__  # type: ignore[attr-defined] # so that `inspect` shows ComfyUI's signature
    return function

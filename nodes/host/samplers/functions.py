"""The signature of ComfyUI's sampler functions, and its arguments as one object for this pack's samplers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ....mcdm_core.product.evaluation.forms import Form
from ....mcdm_core.sampling.types import Callback
from ..evaluation.model_forms import form_of

Options = ParamSpec("Options")
StepReport = Callable[[dict], None]
"""The callback that ComfyUI gives a sampler function, which calls it after each step."""


@dataclass(eq=False)
class SamplerCall:
    """The arguments that ComfyUI gives a sampler function, and its model for samplers of the core.

    Attributes:
        denoiser: Predicts x0 as `denoiser(x, sigma, **extra_args)`.
        x: First sample, x0 + sigmas[0]·n, shape (B, C, …).
        sigmas: Descending noise levels, shape (S + 1,).
        extra_args: Passed to the denoiser.
        callback: Called after each step with a dictionary, as ComfyUI's samplers do.
        disable: Whether to hide the progress bar in the log.
        last_x: The x at which the model was last evaluated.
    """

    denoiser: Any
    x: Tensor
    sigmas: Tensor
    extra_args: dict[str, Any]
    callback: StepReport | None
    disable: bool | None
    last_x: Tensor = field(init=False)

    @property
    def model_sampling(self) -> Any:
        """The model_sampling of the MODEL, a product's reference."""
        return self.denoiser.inner_model.inner_model.model_sampling

    @functools.cached_property
    def form(self) -> Form:
        """The form of x of the same MODEL."""
        return form_of(self.model_sampling, self.x.shape)

    def predict(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """The model's x0, shape of x, which is (B, C, …)."""
        self.last_x = x
        prediction: Tensor = self.denoiser(x, x.new_full((len(x),), float(sigma)), **self.extra_args)
        return prediction

    def generator(self) -> torch.Generator:
        """Noise of another seed than the run's, from which the start noise is drawn."""
        return torch.Generator().manual_seed(((self.extra_args.get("seed") or 0) + 1) % 2**64)

    @contextmanager
    def reports(self) -> Iterator[Callback]:
        """Show a progress bar in the log, and pass reports of steps to ComfyUI's callback.

        Yields:
            The callback for a sampler of the core.
        """
        with tqdm(total=len(self.sigmas) - 1, disable=self.disable) as bar:

            def report(step: int, sigma: float, denoised: Tensor) -> None:
                bar.update()
                if self.callback is not None:
                    level = self.sigmas[step]
                    told = {"x": self.last_x, "i": step, "sigma": level, "sigma_hat": level, "denoised": denoised}
                    self.callback(told)

            yield report


def sampler_function(wrapped: Callable[Concatenate[SamplerCall, Options], Tensor]) -> Callable[..., Tensor]:
    """Give a function of a `SamplerCall` and options ComfyUI's signature."""

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
        return wrapped(SamplerCall(model, x, sigmas, extra_args or {}, callback, disable), *args, **options)

    functools.update_wrapper(function, wrapped, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    del function.__wrapped__  # type: ignore[attr-defined] # so that `inspect` shows ComfyUI's signature
    return function

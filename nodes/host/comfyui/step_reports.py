"""The core's reports of a sampler's steps, as ComfyUI's samplers make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor
from tqdm.auto import tqdm

from ....mcdm_core.sampling.types import Callback

StepReport = Callable[[dict], None]
"""The callback that ComfyUI gives a sampler function, which calls it after each step."""


@contextmanager
def step_reports(
    sigmas: Tensor, callback: StepReport | None, disable: bool | None, point: Callable[[], Tensor]
) -> Iterator[Callback]:
    """Show a progress bar in the log, and pass reports to ComfyUI's callback.

    Args:
        sigmas: Noise levels of the run, shape (S + 1,).
        callback: ComfyUI's.
        disable: Whether to hide the bar.
        point: Returns the x at which the model was last evaluated.

    Yields:
        The callback for a sampler of the core.
    """
    with tqdm(total=len(sigmas) - 1, disable=disable) as bar:

        def report(step: int, sigma: float, denoised: Tensor) -> None:
            bar.update()
            if callback is not None:
                level = sigmas[step]
                callback({"x": point(), "i": step, "sigma": level, "sigma_hat": level, "denoised": denoised})

        yield report

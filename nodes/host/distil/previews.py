"""The product's picture and the student's, side by side, beside the progress bar."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image
from torch import Tensor, nn

from ....mcdm_core.distil.comparison import Comparison
from ....mcdm_core.distil.task import Task

logger = logging.getLogger(__name__)

Preview = tuple[str, Image.Image, int]
"""What ComfyUI's progress bar shows: the format that it is sent in, the picture, and the most pixels of a side."""


class Previews:
    """The report of a training: a sample of the first prompt, left by the product and right by the student.

    Both begin with the same noise. Where ComfyUI shows no previews, nothing is asked. Else each takes a pass of the
    student at each noise level, and the first one as many of the product, for which the student makes room.

    Args:
        bar: Shows them.
        task: What is distilled.
        patcher: The student's MODEL, for whose latents ComfyUI knows a previewer or none.
        sigmas: Noise levels as x0 + σ·n has them, the last one 0.
        seed: Seed of the start noise, which is the one that ComfyUI's samplers draw by it.
        leave: Lets go of the student: a previewer may load a VAE, and ComfyUI unload the student for it.
    """

    log = None

    def __init__(
        self,
        bar: comfy.utils.ProgressBar,
        task: Task,
        patcher: ModelPatcher,
        sigmas: Sequence[float],
        seed: int,
        leave: Callable[[], None],
    ):
        self._bar = bar
        self._leave = leave
        self._previewer = self._unless_it_fails(
            partial(latent_preview.get_previewer, patcher.load_device, patcher.model.latent_format)
        )
        noise = task.noise(1, torch.Generator().manual_seed(seed))
        self._comparison = Comparison(task, torch.zeros(1, dtype=torch.int64, device=task.device), sigmas, noise)
        self._product: Preview | None = None

    def write(self, network: nn.Module, step: int) -> None:
        """Show what has been learned by a step; without a picture where ComfyUI shows none, or failed to decode one."""
        self._bar.update_absolute(step, preview=None if self._previewer is None else self._drawn(network))

    def _drawn(self, network: nn.Module) -> Preview | None:
        product, student = self._comparison.of_product, self._comparison.of_student(network)
        self._leave()
        return self._unless_it_fails(partial(self._side_by_side, product, student))

    def _side_by_side(self, product: Tensor, student: Tensor) -> Preview | None:
        self._product = self._product or self._shown(product)
        return _beside(self._product, self._shown(student))

    def _unless_it_fails(self, ask: Callable[[], Any]) -> Any:
        """What a previewer is or shows; where it fails, None from then on: it may be another pack's, of any kind."""
        try:
            return ask()
        except Exception as error:
            logger.warning(
                "The training goes on without previews, since ComfyUI's previewer failed (%s: %s); free memory, or "
                "choose another preview method.",
                type(error).__name__,
                error,
            )
            self._previewer = None
            return None

    @torch.inference_mode()
    def _shown(self, x0: Tensor) -> Preview | None:
        shown: Preview | None = self._previewer.decode_latent_to_preview_image("JPEG", x0)
        return shown


def _beside(product: Preview | None, student: Preview | None) -> Preview | None:
    """Both in one; None where a previewer of another pack shows them by a way of its own."""
    if product is None or student is None:
        return None
    kind, left, most = product
    both = Image.new("RGB", (left.width + student[1].width, left.height))
    both.paste(left)
    both.paste(student[1], (left.width, 0))
    return kind, both, most * max(both.size) // max(left.size)  # each as large as it is alone

"""One step that counts for nothing, by which it is known before the product is asked whether the student can learn."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import comfy.model_management
import torch

from ....mcdm_core.distil.task import Task
from ....mcdm_core.distil.trajectories import highest
from ....mcdm_core.system.failures import is_out_of_memory
from .learning_layers import Factors

logger = logging.getLogger(__name__)

_EXPECTED = "Expected a student that gives gradients"
_REMEDY = "switch off kernels that compute none, such as SageAttention, or take a model of another family"


def try_step(task: Task, factors: Factors, called: set[str], rows: int) -> None:
    """Compute a gradient, and keep of what is to learn the layers that have one.

    Args:
        task: What is asked.
        factors: What is to learn; layers that are never called, or have no say in the output, are dropped.
        called: The names of the layers that were called, once they were.
        rows: Rows of a step.

    Raises:
        ValueError: Memory ran out, or the network gives no gradient.
    """
    sigma = highest(task.level)
    try:
        x = task.noise(rows, torch.Generator().manual_seed(0))
        levels = torch.full((rows,), sigma, device=task.device)
        prompts = torch.arange(rows, device=task.device) % len(task.trained)
        task.student(factors, x * sigma, levels, prompts).square().mean().backward()
    except (RuntimeError, MemoryError) as error:
        raise ValueError(_refusal(error, rows, task.shape)) from error
    learning = [name for name, change in factors.named() if change.up.grad is not None]
    if not learning:
        raise ValueError(f"{_EXPECTED}, and none reaches its layers; {_REMEDY}.")
    if idle := len(called) - len(learning):
        logger.info("%d of %d layers have no say in a picture, and don't learn.", idle, len(called))
    factors.keep(learning)
    for change in factors.parameters():
        change.grad = None


def _refusal(error: BaseException, rows: int, shape: Sequence[int]) -> str:
    if is_out_of_memory(error) or comfy.model_management.is_oom(error):
        return (
            f"Expected memory for a step of {rows} samples of {'×'.join(map(str, shape))}, and it ran out; lower "
            "batch_size, or take a smaller latent."
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].removesuffix(".")
    return f"{_EXPECTED}, and it has none ({reason}); {_REMEDY}."

"""Samples of the product and of the student, from the same noise."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from ..sampling.ddim import sample_ddim
from ..sampling.run import first_sample
from ..sampling.types import Denoiser
from .task import Task


class Comparison:
    """Runs of DDIM without noise on the way, by the product once and by the student again and again.

    Args:
        task: What is distilled.
        prompts: Prompt of each sample, int64 (B,), on the task's device.
        sigmas: Noise levels, the last one 0.
        noise: Standard normal start noise, shape (B, …), likewise.
    """

    def __init__(self, task: Task, prompts: Tensor, sigmas: Sequence[float], noise: Tensor):
        self._task = task
        self._prompts = prompts
        self._sigmas = sigmas
        self._first = first_sample(noise, sigmas[0])

    @cached_property
    def of_product(self) -> Tensor:
        """The product's samples, (B, …).

        Raises:
            ValueError: If the experts cannot be combined at one of the noise levels.
        """
        made = torch.empty_like(self._first)

        def sample(denoiser: Denoiser, rows: Tensor) -> None:
            made[rows] = sample_ddim(denoiser, self._first[rows], self._sigmas)

        self._task.teacher(self._prompts, self._sigmas, sample)
        return made

    def of_student(self, network: nn.Module) -> Tensor:
        """The samples of the student with this network, (B, …)."""
        return sample_ddim(self._task.walker(network, self._prompts), self._first, self._sigmas)

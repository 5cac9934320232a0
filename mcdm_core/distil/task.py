"""What is to be distilled, as the loop knows it: two callables, and the points at which they are called."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..sampling.types import Denoiser
from .loss import Loss
from .roles import Level, Student, Teacher


@dataclass(frozen=True)
class Task:
    """A teacher and a student of one space.

    Attributes:
        teacher: The product.
        student: What learns from it.
        shape: Shape of a sample, without the batch.
        level: Noise level at a progress of the sampling.
        loss: How far the student is from the product.
        trained: Indices of the prompts that are trained on.
        unseen: Indices of further prompts, on which the student is only measured.
        decode: Makes pictures (B, 3, H, W) of samples; None where no pictures are made.
        clamps: Whether samples lie in [−1, 1].
        dtype: Of the samples.
        device: Where both are called; the buffer lies on the CPU.
        learner: The student of a learning step by its number, where it is another: with noise on its prompts.
    """

    teacher: Teacher
    student: Student
    shape: Sequence[int]
    level: Level
    loss: Loss
    trained: Sequence[int] = (0,)
    unseen: Sequence[int] = ()
    decode: Callable[[Tensor], Tensor] | None = None
    clamps: bool = False
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    learner: Callable[[int], Student] | None = None

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Standard normal noise of `count` samples."""
        return torch.randn(count, *self.shape, generator=generator, dtype=self.dtype).to(self.device)

    def walker(self, network: nn.Module, prompts: Tensor) -> Denoiser:
        """The student as a denoiser of samples of these prompts."""

        @torch.no_grad()
        def denoise(x: Tensor, sigma: Tensor | float) -> Tensor:
            level = torch.full((len(x),), float(sigma), dtype=x.dtype, device=x.device)
            x0 = self.student(network, x, level, prompts)
            return x0.clamp(-1, 1) if self.clamps else x0

        return denoise

"""The two callables of a distillation. Both know prompts by their index, and neither knows of the other."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ..sampling.types import Denoiser

Within = Callable[[Denoiser, Tensor], None]
"""What is done within a run of the teacher: (the denoiser, which is evaluated once at each level but the last; the rows
of the samples that it is for, int64)."""

Teacher = Callable[[Tensor, Sequence[float], Within], None]
"""(prompt of each sample, int64 (B,); noise levels of a run, the last one 0; what is done within it). It is done once
for each part of the samples that the teacher can be evaluated for together: for all at once, or for one prompt after
the other."""

Student = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""(what learns; x = x0 + σ·n, (B, …); σ of each sample, (B,); prompt of each sample, (B,)) → x0, shape of x.

What learns is a module that holds the learning weights, and its average when pictures are made; whatever else the
student consists of may lie in it or outside."""

Level = Callable[[float], float]
"""Noise level at a progress of the sampling, 0 (all noise) to 1."""

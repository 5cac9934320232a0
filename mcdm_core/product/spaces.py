"""Spaces of samples, pictures of one size or latents of one VAE, and the maps between them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .rules.coefficients import Coefficient

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, eq=False)
class Space:
    """A space of samples in one run.

    Attributes:
        shape: Channels, height and width of a sample.
        picture: Height and width of its picture, in pixels.
        decode: From samples (B, *shape) to pictures (B, C, *picture).
        encode: From pictures to samples.
        patch: Side of the patches of latents that are one value of a sample each; 1 for most.
    """

    shape: tuple[int, int, int]
    picture: Size
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    patch: int = 1

    @property
    def size(self) -> Size:
        """Height and width of a sample."""
        return self.shape[1], self.shape[2]

    @property
    def side(self) -> float:
        """√(H·W) of a latent, before it is cut into patches."""
        return self.patch * math.sqrt(math.prod(self.size))


class JointSpaces:
    """The spaces of a product, and its joint samples: one sample of every space, packed into one tensor.

    A part of space s is y_s = x0_s/κ_s + σ·n, where κ_s is the ratio of √(H·W) of a latent of s to that of the
    reference. So all parts have the reference's noise level, as samplers want it, and the noise of a piece of picture
    is equally strong in all of them: averaged over the piece, x_s = κ_s y_s has noise of the level κ_s σ. The method
    is SyncTweedies.

    Args:
        spaces: The reference's first.

    References:
        Kim, Koo, Yeo & Sung, "SyncTweedies: A General Generative Framework Based on Synchronized Diffusions", NeurIPS
        2024 (arXiv 2403.14370).
    """

    def __init__(self, spaces: Sequence[Space]):
        self.spaces = tuple(spaces)
        self.kappas = [space.side / self.spaces[0].side for space in self.spaces]
        self._lengths = [math.prod(space.shape) for space in self.spaces]

    @property
    def packed_shape(self) -> tuple[int, int, int]:
        """Shape of one joint sample, (1, 1, N)."""
        return 1, 1, sum(self._lengths)

    def noise_of(self, space: int, noise: Tensor) -> Tensor:
        """Start noise of another space. Each row is drawn by a seed made of the reference's, so that it goes with it.

        Args:
            space: Index of the space.
            noise: The reference's, standard normal, shape (B, …).

        Returns:
            Standard normal, shape (B, *shape), on the device of the noise.
        """
        seeds = [zlib.crc32(row.float().cpu().contiguous().numpy().tobytes(), space) for row in noise.detach()]
        shape = self.spaces[space].shape
        drawn = [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), device="cpu") for seed in seeds]
        return torch.stack(drawn).to(noise)

    def pack(self, parts: Sequence[Tensor]) -> Tensor:
        """The joint sample of y_s (B, *shape), shape (B, 1, N)."""
        return torch.cat([part.reshape(len(part), 1, -1) for part in parts], dim=-1)

    def unpack(self, joint: Tensor) -> list[Tensor]:
        """The parts y_s of a joint sample."""
        parts = joint.split(self._lengths, dim=-1)
        return [part.reshape(-1, *space.shape) for part, space in zip(parts, self.spaces, strict=True)]

    def is_coarser(self, space: int) -> bool:
        """Whether pictures of the space of an index are too small for details of the reference's pictures."""
        return any(own < of for own, of in zip(self.spaces[space].picture, self.spaces[0].picture, strict=True))

    def to_reference(self, space: int, x0: Tensor, finer: Tensor | None = None) -> Tensor:
        """Carry a clean sample of another space to the reference's.

        Args:
            space: Index of the space.
            x0: The sample.
            finer: Pictures of the reference. What pictures of the space are too small to hold is taken from them.
        """
        if space == 0:
            return x0
        own, reference = self.spaces[space], self.spaces[0]
        picture = resized(own.decode(x0), reference.picture)
        if finer is not None and self.is_coarser(space):
            picture = picture + finer - resized(resized(finer, own.picture), reference.picture)
        return reference.encode(picture)

    def from_reference(self, x0: Tensor, others: Sequence[int]) -> dict[int, Tensor]:
        """Carry a clean sample of the reference's space to others; it is decoded once.

        Args:
            x0: The sample.
            others: Indices of the other spaces.
        """
        reference = self.spaces[0]
        picture = reference.decode(x0) if others else x0
        pictures = {space: resized(picture, self.spaces[space].picture) for space in others}
        return {space: self.spaces[space].encode(resized_picture) for space, resized_picture in pictures.items()}


def size_like(reference: Size, side: int, step: int) -> Size:
    """Height and width of pictures of the aspect ratio of others.

    Args:
        reference: Height and width of the others.
        side: Of a square of about the same area, in pixels.
        step: Number of pixels by which both are divisible.
    """
    height, width = reference
    sides = (side * math.sqrt(ratio) for ratio in (height / width, width / height))
    tall, wide = (max(round(each / step), 1) * step for each in sides)
    return tall, wide


def resized(values: Tensor, size: Size) -> Tensor:
    """Pictures or maps (B, C, H, W) in another size: linear between pixels, averaged where they get smaller."""
    if tuple(values.shape[-2:]) == size:
        return values
    try:
        return F.interpolate(values, size, mode="bilinear", antialias=True)
    except NotImplementedError:  # on Apple's GPUs, of PyTorch's older versions
        return F.interpolate(values.cpu(), size, mode="bilinear", antialias=True).to(values.device)


def resized_coefficient(coefficient: Coefficient, size: Size) -> Coefficient:
    """A coefficient for samples of another size; numbers, and maps that are the same everywhere, stay."""
    if not isinstance(coefficient, Tensor) or coefficient.ndim < 2 or coefficient.shape[-2:].numel() == 1:
        return coefficient
    return resized(coefficient, size)

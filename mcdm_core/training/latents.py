"""Sources whose pictures are latents of a VAE: encoded once, and kept on disk in half precision."""

import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..autoencoders import encoder_key, load_autoencoder
from ..condition import Condition
from .config import DataConfig
from .drawings import Drawings, drawings_of, parts_of

log = logging.getLogger(__name__)

DRAWN_AT_ONCE = 256  # pictures in memory while a set is encoded
ENCODED_AT_ONCE = 8

Conditions = Callable[[str, np.ndarray, np.random.Generator], Condition]
"""(modality, rows of the set, source of randomness) → the condition of each of these rows."""


@dataclass(frozen=True)
class LatentSet:
    """Latents in memory.

    Attributes:
        latents: Half precision, (N, C, h, w).
        conditions: Of the same pictures; None where there are none.
    """

    latents: Tensor
    conditions: Conditions | None = None

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """See `Source`; latents instead of pictures, (B, C, h, w), each channel of mean 0 and deviation 1."""
        rows = rng.integers(0, len(self.latents), size)
        x0 = self.latents[torch.from_numpy(rows)].float()
        if modality is None:
            return x0, Condition()
        assert self.conditions is not None
        return x0, self.conditions(modality, rows, rng)


class LatentSpace:
    """A VAE, and what it makes of drawn sets.

    Args:
        path: The VAE's file.

    Attributes:
        key: Tells this encoder from others, whose latents are other ones; a better decoder changes nothing about it.

    Raises:
        ValueError: There is no such file, or it is no VAE.
    """

    def __init__(self, path: Path):
        if not path.exists():
            raise ValueError(f"Expected a VAE at {path} and there is none; train it first, or correct the path.")
        autoencoder = load_autoencoder(path)
        self.key = encoder_key(autoencoder)
        self.autoencoder = autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.autoencoder.config.latent_channels

    @torch.no_grad()
    def encode(self, images: np.ndarray) -> np.ndarray:
        """Latents of pictures.

        Args:
            images: uint8, (N, H, W, 3).

        Returns:
            Half precision, (N, C, H/8, W/8).
        """
        pictures = torch.from_numpy(images).permute(0, 3, 1, 2)
        encoded = [self.autoencoder.encode(p.float() / 127.5 - 1).half() for p in pictures.split(ENCODED_AT_ONCE)]
        return torch.cat(encoded).numpy()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures, (B, 3, 8·h, 8·w), −1…1 but for overshoot, of latents (B, C, h, w)."""
        return torch.cat([self.autoencoder.decode(chunk) for chunk in latents.split(ENCODED_AT_ONCE)])

    def source(self, data: DataConfig, size: int, cache: Path) -> LatentSet:
        """Latents of a drawn set without conditions, all kinds of a mixture one after the other.

        Args:
            data: What is drawn.
            size: Side of the pictures in pixels.
            cache: Folder of what was drawn and encoded before.
        """
        parts = [self._encoded(drawings_of(part, size), cache) for part in parts_of(data).values()]
        return LatentSet(torch.from_numpy(np.concatenate(parts)))

    def _encoded(self, drawings: Drawings, cache: Path) -> np.ndarray:
        """Latents of a set, encoded while it is drawn or read from `cache`; the pictures are not kept."""
        path = cache / f"{drawings.name}_{self.key}.npy"
        if not path.exists():
            log.info("Encoding %d pictures into %s", len(drawings.jobs), path)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, self._draw_and_encode(drawings))
            partial.replace(path)  # an interrupted write must not pass for a set
        latents: np.ndarray = np.load(path)
        return latents

    def _draw_and_encode(self, drawings: Drawings) -> np.ndarray:
        jobs, encoded = drawings.jobs, []
        with ProcessPoolExecutor() as pool, tqdm(total=len(jobs), desc="encoding", unit="picture") as bar:
            for first in range(0, len(jobs), DRAWN_AT_ONCE):
                drawn = list(pool.map(drawings.draw_one, jobs[first : first + DRAWN_AT_ONCE], chunksize=16))
                encoded.append(self.encode(np.stack([arrays[0] for arrays in drawn])))
                bar.update(len(drawn))
        return np.concatenate(encoded)

"""Sources of latents of a VAE, which are encoded once and kept on disk in half precision."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...checkpoints.autoencoders import encoder_key, load_autoencoder
from ...system.formats import write_array
from ...system.writer import make_folder
from .sources import Conditions, Pictures, PictureSet

log = logging.getLogger(__name__)

ENCODED_AT_ONCE = 8


class LatentSpace:
    """A VAE that encodes training pictures and decodes samples.

    Args:
        path: The VAE's file.

    Attributes:
        key: Identifies the encoder, and so its latents; the decoder does not change it.

    Raises:
        ValueError: There is no such file, or it is no VAE.
    """

    def __init__(self, path: Path):
        if not path.exists():
            raise ValueError(f"Expected a VAE at {path} and there is none; train it first, or correct the path.")
        autoencoder = load_autoencoder(path)
        self.key = encoder_key(autoencoder)
        self.autoencoder = autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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

    def source(self, sets: Iterable[Pictures], cache: Path, conditions: Conditions | None = None) -> PictureSet:
        """Latents of pictures, all sets in sequence.

        Args:
            sets: The pictures.
            cache: Folder of latents encoded before.
            conditions: Conditions of the same pictures.
        """
        encoded = np.concatenate([self._encoded(pictures, cache) for pictures in sets])
        return PictureSet(torch.from_numpy(encoded), conditions)

    def _encoded(self, pictures: Pictures, cache: Path) -> np.ndarray:
        """Latents of a set, read from `cache` or encoded chunk by chunk without keeping the pictures."""
        path = cache / f"{pictures.name}_{self.key}.npy"
        if not path.exists():
            log.info("Encoding %d pictures into %s", len(pictures), path)
            encoded = []
            with tqdm(total=len(pictures), desc="encoding", unit="picture") as bar:
                for chunk in pictures.chunks():
                    encoded.append(self.encode(chunk))
                    bar.update(len(chunk))
            make_folder(path.parent)
            write_array(path, np.concatenate(encoded))
        latents: np.ndarray = np.load(path)
        return latents

"""Report of a VAE's training: fidelity of its reconstructions of held-out pictures."""

import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...networks.autoencoder import Autoencoder
from ...pictures import as_bytes, labelled_grid
from ...pictures.files import write_picture
from ..loop.logs import CsvLog
from .config import AutoencoderTrainingConfig

log = logging.getLogger(__name__)

CHUNK = 8  # pictures in one pass of the network
_PEAK = 255.0
_COLUMNS = ("held-out\npicture", "decoded\nencoding")


@torch.no_grad()
def reconstruct(autoencoder: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures encoded and decoded again.

    Args:
        autoencoder: The network, in evaluation mode.
        images: uint8, (N, 3, H, W).

    Returns:
        The reconstructions, uint8, of the same shape, and the latents, float32, (N, C, H/8, W/8).
    """
    latents = torch.cat([autoencoder.encode(chunk.float() / 127.5 - 1) for chunk in images.split(CHUNK)])
    return torch.cat([as_bytes(autoencoder.decode(chunk)) for chunk in latents.split(CHUNK)]), latents


def peak_signal_to_noise(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """PSNR of pictures and their references: 10 · log10(255² / mean squared difference), in dB.

    Args:
        images: uint8, (N, H, W, 3).
        references: uint8, (N, H, W, 3).

    Returns:
        PSNR of each pair, float64, (N,); infinite for equal pictures.

    Raises:
        ValueError: The pictures are not uint8, or their shapes differ.
    """
    if images.dtype != np.uint8 or references.dtype != np.uint8 or images.shape != references.shape:
        raise ValueError(
            f"Every picture needs a reference of its size, both uint8, but pictures are {images.dtype}, "
            f"{images.shape}, and references {references.dtype}, {references.shape}; convert and resize them."
        )
    squares = np.square(images.astype(np.float64) - references).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(_PEAK**2 / squares))


class AutoencoderReport:
    """Fidelity of held-out pictures, and some of them beside their reconstructions.

    Args:
        config: The run.
        held_out: Name of a part of the pictures → uint8 pictures, (N, 3, H, W).
        folder: The run's folder, which gets `held_out.csv` and `samples_STEP.png`.
    """

    def __init__(self, config: AutoencoderTrainingConfig, held_out: dict[str, Tensor], folder: Path):
        self.config = config
        self.held_out = held_out
        self.folder = folder
        self.log = CsvLog(folder / "held_out.csv", "step", "kind", "psnr")

    def write(self, network: Autoencoder, step: int) -> None:
        """Measure the averaged network after `step` steps: the mean PSNR of each kind, and the latents' statistics."""
        rows: list[list[Image.Image | str]] = []
        latents = []
        for kind, images in self.held_out.items():
            output, encoded = reconstruct(network, images)
            latents.append(encoded)
            references, pictures = (tensor.permute(0, 2, 3, 1).numpy() for tensor in (images, output))
            psnr = float(np.mean(peak_signal_to_noise(pictures, references)))
            self.log.add(step, kind, f"{psnr:.3f}")
            log.info("%s step %d: PSNR of %s %.2f dB", self.config.name, step, kind, psnr)
            shown = range(min(self.config.report.samples, len(images)))
            rows += [[Image.fromarray(references[i]), Image.fromarray(pictures[i])] for i in shown]
        spread, mean = torch.std_mean(torch.cat(latents), dim=(0, 2, 3))
        log.info("%s step %d: latents' mean %s, deviation %s", self.config.name, step, _listed(mean), _listed(spread))
        if rows:
            grid = labelled_grid(_COLUMNS, rows)
            write_picture(self.folder / f"samples_{step:06d}.png", grid)


def _listed(values: Tensor) -> str:
    return " ".join(f"{value:.3f}" for value in values.tolist())

"""Colours of a VAE's latents: the linear map by which ComfyUI shows a run while it samples."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder
from mcdm_core.cli.values import positive
from mcdm_core.networks.autoencoder import DOWNSCALE, Autoencoder
from mcdm_core.training.autoencoder.report import reconstruct
from mcdm_core.training.config import DataConfig

from ..training.mixture_kind import drawings_of
from .reconstructions import FIRST_SEEDS, SIZE

log = logging.getLogger(__name__)

COUNT = 64


def fit_colors(latents: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Fit colours = latents · factors + bias by least squares over all places of all pictures.

    Args:
        latents: Shape (N, C, h, w).
        pictures: Colours in −1…1, shape (N, 3, 8·h, 8·w); each latent pixel is fitted to the mean of its pixels.

    Returns:
        The factors, (C, 3), and the bias, (3,), in float64.
    """
    values = latents.double().permute(0, 2, 3, 1).flatten(0, 2)
    colors = F.avg_pool2d(pictures.double(), DOWNSCALE).permute(0, 2, 3, 1).flatten(0, 2)
    fitted = torch.linalg.lstsq(torch.cat([values, torch.ones(len(values), 1)], dim=1), colors).solution
    return fitted[:-1], fitted[-1]


def measure_colors(
    autoencoder: Autoencoder, cache: Path, count: int = COUNT, size: int = SIZE
) -> tuple[Tensor, Tensor, float]:
    """Fit a VAE's colours on drawings that no VAE is trained on.

    Args:
        autoencoder: The VAE.
        cache: Folder of drawn sets.
        count: Pictures of each kind.
        size: Their side in pixels.

    Returns:
        Factors and bias, see `fit_colors`, and their root mean square error, in the same units.
    """
    latents, pictures = [], []
    for kind, seed in FIRST_SEEDS.items():
        drawn = drawings_of(DataConfig(kind, seed=seed, count=count), size).draw(cache)
        images = torch.from_numpy(drawn["images"]).permute(0, 3, 1, 2)
        latents.append(reconstruct(autoencoder, images)[1])
        pictures.append(images.float() / 127.5 - 1)
    values, colors = torch.cat(latents), torch.cat(pictures)
    factors, bias = fit_colors(values, colors)
    shown = torch.einsum("nchw,cr->nrhw", values.double(), factors) + bias.view(-1, 1, 1)
    return factors, bias, float(F.mse_loss(shown, F.avg_pool2d(colors.double(), DOWNSCALE)).sqrt())


def main(argv: Sequence[str]) -> int:
    """`python -m studies evaluate preview FILE`: fit the colours of a VAE's latents, for ComfyUI's previews."""
    parser = argparse.ArgumentParser(prog="python -m studies evaluate preview", description=main.__doc__)
    parser.add_argument("file", type=Path, help="a VAE, as a [autoencoder] run writes it")
    parser.add_argument("--cache", type=Path, default=Path("runs/data"), help="folder of drawn pictures")
    parser.add_argument("--count", type=positive, default=COUNT, help="pictures of each kind")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    autoencoder = load_autoencoder(arguments.file)
    factors, bias, error = measure_colors(autoencoder, arguments.cache, arguments.count)
    rows = "\n".join(_listed(row) for row in factors)
    log.info(
        "VAE %s, red, green and blue by channel:\n%s\nbias:\n%s\nroot mean square error %.3f of −1…1",
        encoder_key(autoencoder),
        rows,
        _listed(bias),
        error,
    )
    return 0


def _listed(values: Tensor) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in values.tolist()) + "],"

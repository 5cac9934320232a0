"""ComfyUI's latent formats of experts' samples, which are pictures or latents of a VAE, and the VAE for each."""

from __future__ import annotations

from pathlib import Path

import comfy.latent_formats
import comfy.sd
import comfy.utils
import torch

from ....mcdm_core import Expert
from ....mcdm_core.networks.autoencoder import DOWNSCALE

_PREVIEWS: dict[str, tuple[list[list[float]], list[float]]] = {
    "b17d32bd647e": (
        [
            [0.7040, 0.3241, 0.4266],
            [-0.1110, 0.2019, -0.3693],
            [0.0571, 0.4523, 0.2039],
            [-0.4185, -0.0064, 0.4257],
        ],
        [0.1862, 0.1426, 0.1763],
    )
}
"""Red, green and blue for each channel of a VAE's latents, and for all zeros; by the VAE's `encoder_key`.

Least squares over held-out drawings: `python -m studies evaluate preview vae/mcdm_vae.safetensors`.
"""


class PixelSpace(comfy.latent_formats.LatentFormat):
    """Pictures themselves: RGB in −1…1. The identity matrix below makes ComfyUI's previews exact."""

    scale_factor = 1.0
    latent_channels = 3
    spacial_downscale_ratio = 1
    latent_rgb_factors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]  # noqa: RUF012 - ComfyUI's own layout


class LatentSpace(comfy.latent_formats.LatentFormat):
    """Latents of a VAE that was trained here, whose encoder scales them to mean 0 and standard deviation 1.

    There are previews for the VAEs in `_PREVIEWS` only.

    Args:
        channels: Channels of a latent.
        vae_key: `encoder_key` of the VAE; each VAE has its own latents.
    """

    scale_factor = 1.0
    spacial_downscale_ratio = DOWNSCALE

    def __init__(self, channels: int, vae_key: str):
        self.latent_channels = channels
        self.vae_key = vae_key
        if vae_key in _PREVIEWS:
            self.latent_rgb_factors, self.latent_rgb_factors_bias = _PREVIEWS[vae_key]


def space_of(expert: Expert) -> comfy.latent_formats.LatentFormat:
    """The latent format of an expert's samples."""
    vae_key = expert.metadata.get("vae")
    return PixelSpace() if vae_key is None else LatentSpace(expert.channels, vae_key)


def vae_of(path: Path | None) -> comfy.sd.VAE:
    """ComfyUI's VAE of an expert's samples, as VAELoader makes it; in float32, since bfloat16 is off by a level of 255.

    Args:
        path: The file of a VAE of TAESD's layers, see `find_vae_of`; None for ComfyUI's pixel-space VAE.
    """
    weights = {"pixel_space_vae": torch.tensor(1.0)}
    if path is not None:
        weights = comfy.utils.load_torch_file(str(path), safe_load=True)
    vae = comfy.sd.VAE(sd=weights, dtype=torch.float32)
    vae.throw_exception_if_invalid()
    return vae

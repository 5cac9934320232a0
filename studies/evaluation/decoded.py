"""Pictures after encoding and decoding by a VAE, the best that samples of latents can reach."""

from pathlib import Path

import numpy as np
import torch

from mcdm_core.checkpoints.autoencoders import load_autoencoder
from mcdm_core.training.autoencoder.report import reconstruct


def decoded(images: np.ndarray, vae: Path) -> np.ndarray:
    """Pictures encoded by a VAE and decoded again; uint8, (N, H, W, 3)."""
    pictures, _ = reconstruct(load_autoencoder(vae), torch.from_numpy(images).permute(0, 3, 1, 2))
    return pictures.permute(0, 2, 3, 1).numpy()

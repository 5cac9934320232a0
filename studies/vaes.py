"""Finds the VAE that decodes the samples of an expert."""

import functools
from pathlib import Path

from mcdm_core.checkpoints import read_metadata
from mcdm_core.checkpoints.autoencoders import find_vae_of

_SHIPPED = Path(__file__).parents[1] / "vae"


@functools.cache
def vae_of(path: Path) -> Path | None:
    """File of an expert's VAE, near the expert or among the shipped ones; None if the expert makes pictures."""
    key = read_metadata(path).vae
    return find_vae_of(path, key, sorted(_SHIPPED.glob("*.safetensors"))) if key else None

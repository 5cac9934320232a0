"""Which VAE the samples of an expert are decoded by."""

import functools
from pathlib import Path

from mcdm_core.checkpoints import read_metadata
from mcdm_core.checkpoints.vae_of import find_vae_of

_SHIPPED = Path(__file__).parents[2] / "vae"


@functools.cache
def vae_of(path: Path) -> Path | None:
    """The VAE's file of an expert that makes latents, near it or among those that ship; None if it makes pictures."""
    key = read_metadata(path).vae
    return find_vae_of(path, key, sorted(_SHIPPED.glob("*.safetensors"))) if key else None

"""Finds the VAE whose latents an expert makes."""

import os
from collections.abc import Iterator
from pathlib import Path

from ..networks.autoencoder import Autoencoder
from .autoencoders import METADATA_KEY, encoder_key, load_autoencoder
from .safe_reading import CheckpointError, read_metadata_text

VAE_FOLDER = "vae"  # beside a folder of experts


def load_vae_of(expert: str | os.PathLike, key: str, vae: str | os.PathLike | None = None) -> Autoencoder:
    """Load the VAE of an expert.

    Args:
        expert: The expert's file.
        key: `encoder_key` of the VAE, which the expert's header tells.
        vae: The VAE's file; None for the one of that key in the expert's folder, or in a folder "vae" in or beside it.

    Raises:
        CheckpointError: There is none, it cannot be used, or it makes other latents.
    """
    candidates = _vaes_near(Path(expert)) if vae is None else iter([Path(vae)])
    for path in candidates:
        autoencoder = load_autoencoder(path)
        if encoder_key(autoencoder) == key:
            return autoencoder
    if vae is None:
        raise CheckpointError(
            f"{Path(expert).name} makes latents of a VAE ({key}) that is not there; put its file into the expert's "
            f'folder, or into a folder "{VAE_FOLDER}" beside it.'
        )
    raise CheckpointError(
        f"{Path(expert).name} makes latents of the VAE {key} and {Path(vae).name} makes other ones; choose the VAE "
        "that came with the expert."
    )


def _vaes_near(expert: Path) -> Iterator[Path]:
    """Files of VAEs that were trained here; other files are not opened beyond their header."""
    folder = expert.resolve().parent
    for place in (folder, folder / VAE_FOLDER, folder.parent / VAE_FOLDER):
        for path in sorted(place.glob("*.safetensors")):
            if _is_vae(path):
                yield path


def _is_vae(path: Path) -> bool:
    try:
        return read_metadata_text(path, METADATA_KEY) is not None
    except CheckpointError:  # another's file, which is none of ours to judge
        return False

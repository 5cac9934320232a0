"""Finds and loads the VAE of an expert that makes latents."""

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from ..networks.autoencoder import Autoencoder
from .autoencoders import METADATA_KEY, encoder_key, load_autoencoder
from .safe_reading import CheckpointError, read_metadata_text

VAE_FOLDER = "vae"  # beside a folder of experts


def load_vae_of(expert: str | os.PathLike, key: str, vae: str | os.PathLike | None = None) -> Autoencoder:
    """Load the VAE of an expert.

    Args:
        expert: The expert's file.
        key: `encoder_key` of the VAE, from the expert's header.
        vae: The VAE's file; None for the one that `find_vae_of` finds.

    Raises:
        CheckpointError: There is none, it cannot be used, or it is another VAE.
    """
    if vae is None:
        return load_autoencoder(find_vae_of(expert, key))
    autoencoder = load_autoencoder(vae)
    if encoder_key(autoencoder) != key:
        raise CheckpointError(
            f"{Path(expert).name} makes latents of the VAE {key} and {Path(vae).name} makes other ones; choose the "
            "VAE that came with the expert."
        )
    return autoencoder


def find_vae_of(expert: str | os.PathLike, key: str, further: Iterable[str | os.PathLike] = ()) -> Path:
    """Find the VAE of an expert by its encoder's weights; its file may have any name.

    Args:
        expert: The expert's file.
        key: `encoder_key` of the VAE, from the expert's header.
        further: More candidates, beside the files in the expert's folder and in a folder "vae" in or beside it. Of VAEs
            that `save_autoencoder` did not write, only the header is read.

    Raises:
        CheckpointError: There is none, and where a candidate cannot be used, why.
    """
    others, damaged = [], None
    for path in dict.fromkeys([*_files_near(Path(expert)), *(Path(path).resolve() for path in further)]):
        try:
            candidate = key_of_vae(path)
        except CheckpointError as error:
            damaged = damaged or error
            continue
        if candidate == key:
            return path
        if candidate is not None:
            others.append(path.name)
    if damaged is not None:
        raise damaged
    besides = f" (other VAEs are there: {', '.join(others)})" if others else ""
    raise CheckpointError(
        f"{Path(expert).name} makes latents of a VAE ({key}) that is not there; put its file into the expert's "
        f'folder, or into a folder "{VAE_FOLDER}" beside it{besides}.'
    )


def _files_near(expert: Path) -> Iterator[Path]:
    own = expert.resolve().parent
    for folder in (own, own / VAE_FOLDER, own.parent / VAE_FOLDER):
        yield from sorted(folder.glob("*.safetensors"))


def key_of_vae(path: Path) -> str | None:
    """`encoder_key` of a VAE that `save_autoencoder` wrote; None for any other file, of which only the header is read.

    Raises:
        CheckpointError: It is such a VAE but cannot be used.
    """
    status = path.stat()
    return _read_key(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)  # graphs look at every run
def _read_key(path: Path, modified: int, size: int) -> str | None:
    try:
        ours = read_metadata_text(path, METADATA_KEY) is not None
    except CheckpointError:  # no VAE of ours
        return None
    return encoder_key(load_autoencoder(path)) if ours else None

"""Files in ComfyUI's folders: experts, the shipped ones too, the VAEs of latent experts, and example pictures."""

from __future__ import annotations

import filecmp
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import folder_paths

from ....mcdm_core import Expert, ExpertMetadata, load_expert, read_metadata
from ....mcdm_core.checkpoints import read_encoder
from ....mcdm_core.checkpoints.autoencoders import find_vae_of, key_of_vae
from ....mcdm_core.checkpoints.text_tower import text_encoder_among
from ....mcdm_core.conditions import Encoder
from ....mcdm_core.system.formats import write_bytes
from ....mcdm_core.system.shipped import EXAMPLES
from ..comfyui.page import PACK

logger = logging.getLogger(__name__)

FOLDER = "mcdm"
VAE_FOLDER = "vae"  # ComfyUI's own
SHIPPED, SHIPPED_VAES = PACK / "experts", PACK / "vae"
EXTENSIONS = {".safetensors", ".pt", ".pth", ".ckpt"}
PREFIX = "mcdm_"  # of the names of example pictures among ComfyUI's inputs


def register_folders() -> None:
    """Register the model folder, and the pack's VAEs among ComfyUI's.

    Paths from extra_model_paths.yaml stay.
    """
    if SHIPPED_VAES.is_dir():
        folder_paths.add_model_folder_path(VAE_FOLDER, str(SHIPPED_VAES))
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folder_paths.add_model_folder_path(FOLDER, str(SHIPPED))
    # add_model_folder_path sets no extensions, so model cards would be listed as models.
    folder_paths.folder_names_and_paths[FOLDER] = (folder_paths.get_folder_paths(FOLDER), EXTENSIONS)


def expert_names() -> list[str]:
    """Names of all expert files."""
    return folder_paths.get_filename_list(FOLDER)


def expert_path(name: str) -> str:
    """Path of an expert file.

    Raises:
        ValueError: If there is no such file.
    """
    path = folder_paths.get_full_path(FOLDER, name) if isinstance(name, str) else None  # a prompt may hold anything
    if path is None:
        raise ValueError(_missing(name))
    return path


def _missing(name: Any) -> str:
    if not str(name).strip():
        return f"Expected the name of an expert file and got none; choose one of {', '.join(expert_names())}."
    folder = folder_paths.get_folder_paths(FOLDER)[0]
    return (
        f'Expected an expert file in models/{FOLDER} and found no "{name!s:.80}" there; copy it to {folder} (a '
        "template's note says where from), or choose another."
    )


def load(name: str) -> Expert:
    """Load an expert.

    Raises:
        ValueError: If the file is missing or cannot be used; one sentence for the user.
    """
    return load_expert(expert_path(name), text_encoder=_farl_path(), as_stored=True)


def vae_path(name: str) -> Path | None:
    """File of the VAE whose latents an expert makes; None if it makes pictures.

    The file may be where `find_vae_of` looks, or among ComfyUI's VAEs.

    Raises:
        ValueError: If the expert's file or the VAE is missing or cannot be used; one sentence for the user.
    """
    key = metadata_of(name).vae
    if key is None:
        return None
    # Those among ComfyUI's VAEs that may have been trained by this pack.
    names = [each for each in folder_paths.get_filename_list(VAE_FOLDER) if each.endswith(".safetensors")]
    paths = [folder_paths.get_full_path(VAE_FOLDER, each) for each in names]
    return find_vae_of(expert_path(name), key, [path for path in paths if path is not None])


def file_state(name: str) -> tuple:
    """A value that changes with the expert's file, and with those of its text encoder and VAE, if any.

    ComfyUI stores it in the prompt, which Save Image writes as JSON.
    """
    vae = vae_path(name)
    return (*_states_of_expert(name), *([] if vae is None else [_state(vae)]))


def _states_of_expert(name: str) -> tuple:
    return tuple(_state(path) for path in (expert_path(name), _farl_path()) if path is not None)


def _state(path: str | Path) -> tuple[str, int, int]:
    status = os.stat(path)
    return str(path), status.st_mtime_ns, status.st_size


def _farl_path() -> str | None:
    """The file of FaRL, the text encoder of the paper's face network, in any folder of expert files."""
    name = text_encoder_among(expert_names())
    return None if name is None else expert_path(name)


def metadata_of(name: str) -> ExpertMetadata:
    """What an expert's file says of itself, its VAE and the size of its pictures among it.

    Raises:
        ValueError: As `inspect_expert`.
    """
    return _read_metadata(name, _states_of_expert(name))


def key_of_vae_file(name: str) -> str | None:
    """`encoder_key` of a choice of ComfyUI's VAELoader; None for a VAE that was not trained here.

    Raises:
        ValueError: If the file cannot be used.
    """
    path = folder_paths.get_full_path(VAE_FOLDER, name)
    return None if path is None else key_of_vae(Path(path))


def check_expert_file(name: str) -> None:
    """Refuse an expert file that cannot be used, or whose VAE is missing.

    Raises:
        ValueError: One sentence for the user.
    """
    inspect_expert(name)
    vae_path(name)


def inspect_expert(name: str) -> Encoder:
    """The encoder of an expert file, after a check of its header; the weights are read when the expert is loaded.

    Raises:
        ValueError: If the file is missing or cannot be used; one sentence for the user.
    """
    return _inspect(name, _states_of_expert(name))


@lru_cache(maxsize=32)
def _inspect(name: str, state: tuple) -> Encoder:
    return read_encoder(expert_path(name), text_encoder=_farl_path())


@lru_cache(maxsize=32)
def _read_metadata(name: str, state: tuple) -> ExpertMetadata:
    return read_metadata(expert_path(name))


def install_example_inputs() -> None:
    """Copy the example pictures into ComfyUI's input folder, where Load Image finds them.

    Load Image lists no subfolders, and the page reports pictures in subfolders as missing; so a prefix of the names
    separates them from the user's own. Copies that differ from the pack's files are replaced, so that workflows stay
    reproducible after an update.
    """
    folder = Path(folder_paths.get_input_directory())
    try:
        for example in sorted(EXAMPLES.glob("*.png")):
            copy = folder / f"{PREFIX}{example.name}"
            if not copy.exists() or not filecmp.cmp(example, copy, shallow=False):
                copy.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(copy, example.read_bytes())
    except OSError as error:
        logger.warning(
            "The example pictures could not be copied to %s (%s); copy %s there yourself.", folder, error, EXAMPLES
        )

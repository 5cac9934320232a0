"""Where ComfyUI finds expert files: `models/mcdm` and the experts shipped with the pack."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import folder_paths

from ...mcdm_core import Expert, load_expert
from ...mcdm_core.checkpoints import read_encoder
from ...mcdm_core.checkpoints.farl import text_encoder_among
from ...mcdm_core.conditions import Encoder

FOLDER = "mcdm"
SHIPPED = Path(__file__).resolve().parents[2] / "experts"
EXTENSIONS = {".safetensors", ".pt", ".pth", ".ckpt"}


def register_folder() -> None:
    """Register the model folder; paths from extra_model_paths.yaml, which are there already, stay."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folder_paths.add_model_folder_path(FOLDER, str(SHIPPED))
    # add_model_folder_path leaves the set of extensions empty, which would list model cards as models.
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
        raise ValueError(
            f'Expected an expert file in models/{FOLDER} and found no "{name}" there; choose one of {expert_names()}.'
        )
    return path


def load(name: str) -> Expert:
    """Load an expert.

    Raises:
        ValueError: If the file is missing or cannot be used; one sentence for the user.
    """
    return load_expert(expert_path(name), text_encoder=_farl_path())


def file_state(name: str) -> tuple:
    """Changes when the expert's file does, or that of the text encoder it may need."""
    return tuple(_state(path) for path in (expert_path(name), _farl_path()) if path is not None)


def _state(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_mtime_ns, status.st_size


def _farl_path() -> str | None:
    """FaRL's file, which the paper's face network reads texts with; it may lie in any folder of expert files."""
    name = text_encoder_among(expert_names())
    return None if name is None else expert_path(name)


def inspect_expert(name: str) -> Encoder:
    """The encoder of an expert file, after a check of its header; the weights are read when the expert is loaded.

    Raises:
        ValueError: If the file is missing or cannot be used; one sentence for the user.
    """
    return _inspect(name, file_state(name))


@lru_cache(maxsize=32)
def _inspect(name: str, state: tuple) -> Encoder:
    return read_encoder(expert_path(name), text_encoder=_farl_path())

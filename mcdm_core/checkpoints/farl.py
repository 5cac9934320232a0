"""FaRL's text tower, which the paper's face expert reads texts with, and its file in the folder of an expert's."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..networks import ClipTextTower
from .safe_reading import CheckpointError
from .text_tower import load_text_tower

FARL = "FaRL-Base-Patch16-LAIONFace20M-ep64.pth"


def text_encoder_among(names: Iterable[str]) -> str | None:
    """FaRL's file among file names: the one the paper's networks were trained with, else the first named FaRL…."""
    found = sorted(name for name in names if Path(name).name.lower().startswith("farl"))
    return next((name for name in found if Path(name).name == FARL), found[0] if found else None)


def load_farl(expert: str | os.PathLike, text_encoder: str | os.PathLike | None) -> ClipTextTower:
    """Load FaRL's text tower.

    Args:
        expert: The expert's file.
        text_encoder: FaRL's file; None to look for one in the expert's folder.

    Raises:
        CheckpointError: If there is no such file, or it holds no such tower or cannot be used.
    """
    if text_encoder is None:
        beside = Path(expert).resolve().parent
        found = text_encoder_among([file.name for file in beside.iterdir() if file.is_file()])
        if found is None:
            raise CheckpointError(
                f"{Path(expert).name} reads texts with FaRL's text encoder; put {FARL} into its folder."
            )
        text_encoder = beside / found
    return load_text_tower(text_encoder)

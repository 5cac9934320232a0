"""Files of FaRL's text tower (OpenAI's CLIP layout), which the paper's face expert reads texts with.

They are recognized by their tensors, which don't show the number of heads; the release has heads of 64 channels.
"""

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from ..networks import ClipTextConfig, ClipTextTower
from ..networks.blank import without_weights
from .contents import CheckpointError
from .recognition import Shapes, difference, shapes_of
from .safe_reading import read_checkpoint
from .weights import refuse_not_finite

logger = logging.getLogger(__name__)

NAME = "FaRL's text encoder"
FARL = "FaRL-Base-Patch16-LAIONFace20M-ep64.pth"

_HEAD_CHANNELS = 64
_LAYERS = "transformer.resblocks."


def holds_text_tower(tensors: Collection[str]) -> bool:
    """Whether a file holds a text tower, by the names of its tensors."""
    return "text_projection" in tensors


def load_text_tower(path: str | os.PathLike, heads: int | None = None) -> ClipTextTower:
    """Load the text tower of a file, which may also hold a tower for pictures and leftovers of training.

    The tensors keep the dtype in which they are stored and are the file's own, mapped into memory.

    Example:
        >>> tower = load_text_tower("models/mcdm/FaRL-Base-Patch16-LAIONFace20M-ep64.pth")
        >>> tower.encode(["This person wears eyeglasses"]).shape
        torch.Size([1, 512])

    Args:
        path: A file of FaRL, or of OpenAI's CLIP in the same layout.
        heads: Number of attention heads, where they don't have 64 channels each.

    Returns:
        The tower, in evaluation mode, without gradients.

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, contains code, holds no such tower, or the tower's
            tensors don't fit or are not finite; a ValueError whose message is one sentence for the user.
        FileNotFoundError: If there is no such file.
    """
    tensors, _ = read_checkpoint(path)
    file = Path(path).name
    if not holds_text_tower(tensors):
        raise CheckpointError(f"{file} holds no text encoder; choose a file of FaRL.")
    tower = _blank_tower(tensors, file, heads)
    used = {name: tensors[name] for name in tower.state_dict()}
    refuse_not_finite(used, path)
    tower.load_state_dict(used, assign=True)
    logger.info("Loaded %s from %s", NAME, path)
    return tower.eval().requires_grad_(False)


def text_encoder_among(names: Iterable[str]) -> str | None:
    """FaRL's file among file names: the one the paper's networks were trained with, else the first named FaRL…."""
    named = sorted(name for name in names if Path(name).name.lower().startswith("farl"))
    return next((name for name in named if Path(name).name == FARL), named[0] if named else None)


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
        name = text_encoder_among([file.name for file in beside.iterdir() if file.is_file()])
        if name is None:
            raise CheckpointError(
                f"{Path(expert).name} reads texts with FaRL's text encoder; put {FARL} into its folder."
            )
        text_encoder = beside / name
    return load_text_tower(text_encoder)


def _blank_tower(tensors: Mapping[str, Tensor], file: str, heads: int | None) -> ClipTextTower:
    """The tower on the meta device, after checking that the file's tensors fit it."""
    shapes = shapes_of(tensors)
    try:
        config = _read_config(shapes, heads)
        if config.layers > len(tensors):
            raise ValueError(f"it would have {config.layers:,} layers and has {len(tensors):,} tensors")
        with without_weights():
            tower = ClipTextTower(config)
    except (KeyError, IndexError, ValueError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{file} should hold {NAME}, but what it holds of it cannot be one ({error}); download it again."
        ) from None
    expected = shapes_of(tower.state_dict())
    own = {name: shape for name, shape in shapes.items() if name in expected}
    if problem := difference(expected, own, f"{NAME}'s"):
        raise CheckpointError(f"{file} {problem}; it is damaged or changed, so download it again.")
    return tower


def _read_config(shapes: Shapes, heads: int | None) -> ClipTextConfig:
    width, dim = shapes["text_projection"]
    # Layers missing before the last are found later.
    layers = 1 + max(int(name.removeprefix(_LAYERS).split(".")[0]) for name in shapes if name.startswith(_LAYERS))
    return ClipTextConfig(
        vocabulary=shapes["token_embedding.weight"][0],
        context_length=shapes["positional_embedding"][0],
        width=width,
        layers=layers,
        heads=max(1, width // _HEAD_CHANNELS) if heads is None else heads,
        dim=dim,
    )

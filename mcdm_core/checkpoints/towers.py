"""Files of text and image towers: FaRL's (OpenAI's CLIP layout) and GLIDE's noised CLIP, recognized by their tensors.

Tensors don't show the number of heads; both releases have heads of 64 channels.
"""

import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..networks import (
    ClipImageConfig,
    ClipImageTower,
    ClipTextConfig,
    ClipTextTower,
    GlideClipImageConfig,
    GlideClipImageTower,
    GlideClipTextConfig,
    GlideClipTextTower,
)
from ..networks.blank import without_weights
from .recognition import Shapes, difference, shapes_of
from .safe_reading import CheckpointError, read_checkpoint
from .weights import refuse_not_finite

logger = logging.getLogger(__name__)

Side = Literal["text", "image"]
Tower = ClipTextTower | ClipImageTower | GlideClipTextTower | GlideClipImageTower

HEAD_CHANNELS = 64


@dataclass(frozen=True)
class TowerKind:
    """One kind of tower and how its file is recognized.

    Attributes:
        name: Name in messages.
        side: What it reads.
        marker: Tensor that no other kind has.
        prefix: Prefix of the tower's names in a file.
        tower: Class of the tower, called with the configuration.
        read_config: Reads the configuration from names, without the prefix, and shapes.
        strict: Whether its file holds nothing else; FaRL's also holds its other tower and leftovers of training.
    """

    name: str
    side: Side
    marker: str
    prefix: str
    tower: Callable[[Any], Tower]
    read_config: Callable[[Shapes], Any]
    strict: bool


def _heads(width: int) -> int:
    return max(1, width // HEAD_CHANNELS)


def _layers(shapes: Shapes, pattern: str) -> int:
    """Number of layers, from the highest index after `pattern`; layers missing in between are found later."""
    rest = (name.removeprefix(pattern) for name in shapes if name.startswith(pattern))
    return 1 + max(int(name.split(".")[0]) for name in rest)


def _side_length(positions: int, patch_size: int) -> int:
    """Pixels of a square picture; the first position is no patch."""
    return round((positions - 1) ** 0.5) * patch_size


def _read_clip_text(shapes: Shapes) -> ClipTextConfig:
    width, dim = shapes["text_projection"]
    return ClipTextConfig(
        vocabulary=shapes["token_embedding.weight"][0],
        context_length=shapes["positional_embedding"][0],
        width=width,
        layers=_layers(shapes, "transformer.resblocks."),
        heads=_heads(width),
        dim=dim,
    )


def _read_clip_image(shapes: Shapes) -> ClipImageConfig:
    width, dim = shapes["proj"]
    patch_size = shapes["conv1.weight"][-1]
    return ClipImageConfig(
        image_size=_side_length(shapes["positional_embedding"][0], patch_size),
        patch_size=patch_size,
        width=width,
        layers=_layers(shapes, "transformer.resblocks."),
        heads=_heads(width),
        dim=dim,
    )


def _read_glide_text(shapes: Shapes) -> GlideClipTextConfig:
    vocabulary, width = shapes["blocks.input.w_voc"]
    return GlideClipTextConfig(
        vocabulary=vocabulary,
        context_length=shapes["blocks.input.w_pos"][0],
        width=width,
        layers=_layers(shapes, "blocks.block_"),
        heads=_heads(width),
        dim=shapes["blocks.output.f.w"][0],
    )


def _read_glide_image(shapes: Shapes) -> GlideClipImageConfig:
    timesteps, width = shapes["blocks.input.w_t"]
    patch_size = shapes["blocks.input.patch_proj"][-1]
    return GlideClipImageConfig(
        timesteps=timesteps,
        image_size=_side_length(shapes["blocks.input.w_pos"][0], patch_size),
        patch_size=patch_size,
        width=width,
        layers=_layers(shapes, "blocks.block_"),
        heads=_heads(width),
        dim=shapes["blocks.output.f.w"][0],
    )


KINDS = (
    TowerKind("FaRL's text encoder", "text", "text_projection", "", ClipTextTower, _read_clip_text, False),
    TowerKind("FaRL's image encoder", "image", "visual.proj", "visual.", ClipImageTower, _read_clip_image, False),
    TowerKind(
        "GLIDE's CLIP text encoder", "text", "blocks.input.w_voc", "", GlideClipTextTower, _read_glide_text, True
    ),
    TowerKind(
        "GLIDE's CLIP image encoder", "image", "blocks.input.w_t", "", GlideClipImageTower, _read_glide_image, True
    ),
)


def tower_kinds(tensors: Collection[str]) -> list[TowerKind]:
    """The kinds of tower in a file, from the names of its tensors; an empty list for any other file."""
    return [kind for kind in KINDS if kind.marker in tensors]


def load_towers(path: str | os.PathLike, heads: Mapping[Side, int] | None = None) -> dict[Side, Tower]:
    """Load the text and image towers of a file.

    The tensors keep the dtype in which they are stored and are the file's own, mapped into memory.

    Example:
        >>> towers = load_towers("models/mcdm/FaRL-Base-Patch16-LAIONFace20M-ep64.pth")
        >>> towers["text"].encode(["This person wears eyeglasses"]).shape
        torch.Size([1, 512])

    Args:
        path: A file of FaRL (or of OpenAI's CLIP in the same layout), or one of GLIDE's two files of its noised CLIP.
        heads: Number of attention heads by side, where they don't have 64 channels each.

    Returns:
        `ClipTextTower` and `ClipImageTower`, or the one of `GlideClipTextTower` and `GlideClipImageTower` that the file
        holds, by side: "text" or "image". In evaluation mode, without gradients.

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, contains code, holds no tower, or a tower's tensors
            don't fit or are not finite; a ValueError whose message is one sentence for the user.
        FileNotFoundError: If there is no such file.
    """
    tensors, _ = read_checkpoint(path)
    kinds = tower_kinds(tensors)
    if not kinds:
        raise CheckpointError(
            f"{Path(path).name} holds neither a text nor an image encoder; choose a file of FaRL or of GLIDE's CLIP."
        )
    towers = {kind.side: _load_tower(kind, tensors, Path(path).name, (heads or {}).get(kind.side)) for kind in kinds}
    used = {
        kind.prefix + name: tensors[kind.prefix + name] for kind in kinds for name in towers[kind.side].state_dict()
    }
    refuse_not_finite(used, path)
    logger.info("Loaded %s from %s", " and ".join(kind.name for kind in kinds), path)
    return towers


def _load_tower(kind: TowerKind, tensors: Mapping[str, Tensor], file: str, heads: int | None) -> Tower:
    state = {name.removeprefix(kind.prefix): tensor for name, tensor in tensors.items() if name.startswith(kind.prefix)}
    found = shapes_of(state)
    try:
        config = kind.read_config(found)
        config = config if heads is None else replace(config, heads=heads)
        if config.layers > len(state):
            raise ValueError(f"it would have {config.layers:,} layers and has {len(state):,} tensors")
        with without_weights():
            tower = kind.tower(config)
    except (KeyError, IndexError, ValueError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{file} should hold {kind.name}, but what it holds of it cannot be one ({error}); download it again."
        ) from None
    expected = shapes_of(tower.state_dict())
    found = found if kind.strict else {name: shape for name, shape in found.items() if name in expected}
    problem = difference(expected, found, f"{kind.name}'s")
    if problem:
        raise CheckpointError(f"{file} {problem}; it is damaged or changed, so download it again.")
    tower.load_state_dict({name: state[name] for name in expected}, assign=True)
    return tower.eval().requires_grad_(False)

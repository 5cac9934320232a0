"""LoRA files of experts: low-rank changes of weights in the layout that ComfyUI's Load LoRA reads.

For each changed layer a file has `diffusion_model.network.LAYER.lora_down.weight`, `….lora_up.weight` and `….alpha`;
the weight gains strength · alpha / rank · up · down. The header's "mcdm_lora" says how it was trained.
"""

import copy
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..expert import Expert
from ..networks.low_rank import change_of, low_rank_of
from ..system.formats import write_tensors
from .contents import CheckpointError
from .safe_reading import read_checkpoint
from .weights import listed, refuse_not_finite, refuse_other_dtypes

LORA_KEY = "mcdm_lora"
"""Key of the description in the header."""

_PREFIX = "diffusion_model.network."
_DOWN, _UP, _ALPHA = _PARTS = ".lora_down.weight", ".lora_up.weight", ".alpha"


def save_lora(path: str | os.PathLike, network: nn.Module, card: Mapping[str, Any], half: bool = False) -> None:
    """Write the changes of a network's weights.

    Args:
        path: File to write; it appears only when complete.
        network: A network with low-rank changes, from `add_low_rank`.
        card: Description for the header.
        half: Write half precision.

    Raises:
        WriteError: It could not be written; what the file held before is unchanged.
    """
    tensors: dict[str, Tensor] = {}
    for layer, change in low_rank_of(network).items():
        down, up = (factor.detach().half() if half else factor.detach() for factor in (change.down, change.up))
        tensors |= {
            f"{_PREFIX}{layer}{_DOWN}": down,
            f"{_PREFIX}{layer}{_UP}": up,
            f"{_PREFIX}{layer}{_ALPHA}": torch.tensor(float(len(down))),
        }
    write_tensors(path, tensors, {LORA_KEY: json.dumps(dict(card), ensure_ascii=False)})


def with_lora(expert: Expert, path: str | os.PathLike, strength: float = 1.0) -> Expert:
    """A copy of an expert with a LoRA added to its weights; the given expert stays as it is.

    Example:
        >>> painter = with_lora(load_expert("text"), "my_style.safetensors", 0.8)

    Args:
        expert: The expert that the LoRA was trained on.
        path: The LoRA's file.
        strength: Factor of the change; 0 is the expert itself, 1 as trained.

    Raises:
        CheckpointError: The file is damaged, is no LoRA, or is one for another network.
        FileNotFoundError: If there is no such file.
        ValueError: The strength is infinite or NaN.
    """
    if not math.isfinite(strength):
        raise ValueError(f"Expected a finite strength of a LoRA and got {strength}.")
    tensors, _ = read_checkpoint(path)
    file = Path(path).name
    refuse_other_dtypes(tensors, file)
    refuse_not_finite(tensors, path)
    changed = copy.copy(expert)
    changed.network = copy.deepcopy(expert.network)
    changed.name = f"{expert.name} with {Path(path).stem}"
    layers = dict(changed.network.named_modules())
    with torch.no_grad():
        for name in _changed_layers(tensors, file):
            down, up, alpha = (tensors[f"{_PREFIX}{name}{part}"] for part in _PARTS)
            _check_factors(down, up, alpha, name, file)
            weight, shape = getattr(layers.get(name), "weight", None), (len(up), *down.shape[1:])
            if weight is None or weight.shape != shape:
                raise CheckpointError(
                    f"{file} changes {name} by {shape}, which {expert.name} does not have; choose the expert that the "
                    "LoRA was trained on."
                )
            scale = strength * float(alpha) / len(down)
            weight += (scale * change_of(down.to(weight.device).float(), up.to(weight.device).float())).to(weight)
            if not weight.isfinite().all():
                raise CheckpointError(
                    f"{file} changes {name} by more than its dtype can hold; take less of its strength."
                )
    return changed


def _changed_layers(tensors: Mapping[str, Tensor], file: str) -> list[str]:
    """Names of the layers that a file has factors for.

    Raises:
        CheckpointError: It has none, has other tensors too, or lacks some of a layer's.
    """
    layers = [name[len(_PREFIX) : -len(_UP)] for name in tensors if name.startswith(_PREFIX) and name.endswith(_UP)]
    known = {f"{_PREFIX}{layer}{part}" for layer in layers for part in _PARTS}
    if not layers or (strangers := known ^ tensors.keys()):
        names = listed(sorted(strangers)) if layers else "no factors of a network's layers"
        raise CheckpointError(
            f"{file} has {names}, and a LoRA of an expert has {_DOWN[1:]}, {_UP[1:]} and {_ALPHA[1:]} of each layer; "
            "choose one that was trained on an expert of this pack."
        )
    return layers


def _check_factors(down: Tensor, up: Tensor, alpha: Tensor, layer: str, file: str) -> None:
    """Refuse factors that cannot be multiplied."""
    ranks = (len(down), up.flatten(1).shape[1]) if down.ndim > 1 and up.ndim > 1 else (0, 0)
    if not ranks[0] or ranks[0] != ranks[1] or alpha.numel() != 1:
        raise CheckpointError(
            f"{file} has factors of {layer} that don't fit each other, {tuple(down.shape)} and {tuple(up.shape)}; "
            "train or export it again."
        )

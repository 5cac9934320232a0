"""What tells whether a run goes on with the experts and prompts that it was begun with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core import Condition
from ....mcdm_core.conditions.key import fingerprint
from ..chain.expert_chain import WiredTerm
from ..weights.patched_pass import tensors_in

_READ = 64  # values of each tensor of a patch


def fingerprint_of(experts: Sequence[WiredTerm], *settings: Any) -> str:
    """Equal for experts of equal numbers, conditions and masks on MODELs that look the same.

    Weights aren't read, most of which may be on a disk: a MODEL is known by its file, where ComfyUI tells it, by its
    size, and by what is patched in it, how strongly, and with which first values.

    Args:
        experts: The experts.
        *settings: What else decides, plain values and tensors.
    """
    tensors: dict[str, Tensor] = {}
    described = [_described(each, f"{index}", tensors) for index, each in enumerate((*experts, settings))]
    return fingerprint({"parts": described}, tensors)


def _described(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Plain values that describe a value; its tensors are put among those by names."""
    if isinstance(value, WiredTerm):
        parts = value.numbers, value.condition, value.null, value.mask, [*map(repr, value.settings)]
        return [*_model(value.model), *(_described(each, f"{name} {i}", tensors) for i, each in enumerate(parts))]
    if isinstance(value, Tensor):
        tensors[name] = value.detach().float()
        return str(tuple(value.shape))
    if isinstance(value, Condition):
        return [value.text_active, _described(value.tensors(), name, tensors)]
    if isinstance(value, dict):
        return {str(key): _described(each, f"{name} {key}", tensors) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_described(each, f"{name} {i}", tensors) for i, each in enumerate(value)]
    return value if isinstance(value, (bool, int, float, str, type(None))) else type(value).__name__


def _model(patcher: ModelPatcher) -> Iterator[Any]:
    yield type(patcher.model).__name__
    yield patcher.model_size()
    made = patcher.cached_patcher_init[1] if patcher.cached_patcher_init is not None else ()
    yield [each for each in made if isinstance(each, (bool, int, float, str))]
    yield {key: [*map(_patch, patches)] for key, patches in sorted(patcher.patches.items())}


def _patch(patch: tuple[Any, ...]) -> list[Any]:
    """The strengths of a patch and of the weight that it is added to, and for each of its tensors what tells it."""
    strength, value, of_weight = patch[:3]
    held = tensors_in(getattr(value, "weights", value))
    return [strength, of_weight, [[str(tuple(each.shape)), each.flatten()[:_READ].float().tolist()] for each in held]]

"""Bring all experts of a run into memory in one call, and switch between MODELs that share their weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import comfy.model_management
import comfy.sampler_helpers
from comfy.model_patcher import ModelPatcher

from .prepared import Conds

logger = logging.getLogger(__name__)

FULL_LOAD = 1e32  # ComfyUI's "as much memory as it takes", in bytes


def load_jointly(
    prepared: Sequence[tuple[ModelPatcher, Conds, dict]], noise_shape: Sequence[int]
) -> list[ModelPatcher]:
    """Load every expert and all that their conditioning brings along.

    ComfyUI frees what an earlier call loaded, so there must be only one call. Of MODELs that share their weights the
    first is loaded; `SharedWeights` switches to the others. Experts run one after the other, so the largest need of a
    single one is what a pass takes.

    Args:
        prepared: For each MODEL its patcher, the conditioning of its experts, and its prepared options.
        noise_shape: Shape of the latent.

    Returns:
        The additional models (ControlNets and the like), which need a cleanup after the run.
    """
    additional: list[ModelPatcher] = []
    experts: dict[int, ModelPatcher] = {}
    required = minimum = 0
    for patcher, conds, options in prepared:
        experts.setdefault(id(patcher.model), patcher)
        models, extra = comfy.sampler_helpers.get_additional_models(conds, patcher.model_dtype())
        additional += models
        additional += comfy.sampler_helpers.get_additional_models_from_model_options(options)
        additional += patcher.get_nested_additional_models()
        largest, smallest = comfy.sampler_helpers.estimate_memory(patcher, noise_shape, conds)
        required, minimum = max(required, largest + extra), max(minimum, smallest + extra)
    logger.info(
        "Loading %d expert models (%.0f MB of weights) and %d additional ones; a pass is estimated at %.0f MB.",
        len(experts),
        sum(patcher.model_size() for patcher in experts.values()) / 2**20,
        len(additional),
        required / 2**20,
    )
    comfy.model_management.load_models_gpu(
        [*experts.values(), *additional], memory_required=required, minimum_memory_required=minimum
    )
    return additional


class SharedWeights:
    """Switches the weights of a network between the MODELs cloned from it: a checkpoint with and without a LoRA, say.

    Args:
        patchers: The MODELs of a run, as `load_jointly` was given them.
    """

    def __init__(self, patchers: Sequence[ModelPatcher]):
        self._loaded: dict[int, ModelPatcher] = {}
        for patcher in patchers:
            self._loaded.setdefault(id(patcher.model), patcher)
        self._active = dict(self._loaded)

    def is_active(self, patcher: ModelPatcher) -> bool:
        """Whether the network has this MODEL's weights."""
        return _same_weights(self._active[id(patcher.model)], patcher)

    def activate(self, patcher: ModelPatcher) -> None:
        """Give the network this MODEL's weights, and make it the one that hooks and callbacks are read from."""
        model = patcher.model
        if not self.is_active(patcher):
            previous = self._active[id(model)]
            previous.unpatch_hooks()
            previous.eject_model()
            patcher.partially_load(patcher.load_device, 0 if model.model_lowvram else FULL_LOAD)
            self._active[id(model)] = patcher
        model.current_patcher = patcher

    def restore(self) -> None:
        """Leave every network as it was loaded."""
        for key, patcher in self._loaded.items():
            if self._active[key] is not patcher:
                self.activate(patcher)
                patcher.model.current_patcher = None


def _same_weights(first: ModelPatcher, second: ModelPatcher) -> bool:
    if first is second:
        return True
    return (
        bool(first.clone_has_same_weights(second))
        and not (first.hook_patches or second.hook_patches)
        and _same_objects(first.object_patches, second.object_patches)
        and _same_objects(first.injections, second.injections)
        and first.weight_wrapper_patches == second.weight_wrapper_patches
    )


def _same_objects(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(first[key] is second[key] for key in first)

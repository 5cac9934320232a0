"""One MODEL of a run with everything attached to it: its own options, hooks and conditioning."""

from __future__ import annotations

from typing import Any

import comfy.hooks
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

Conds = dict[str, list[dict]]


class PreparedModel:
    """Does for one MODEL what CFGGuider does for its only one, and undoes it.

    The reference expert's MODEL is prepared by CFGGuider itself; this is for the others.

    Args:
        patcher: The MODEL.
        conds: Converted conditioning of all experts on it, by name.
    """

    def __init__(self, patcher: ModelPatcher, conds: Conds):
        self.patcher = patcher
        self.conds = conds
        self.model_options: dict[str, Any] = comfy.model_patcher.create_model_options_clone(patcher.model_options)
        self._hook_mode = patcher.hook_mode

    def open(self) -> None:
        """Register hooks, wrappers and callbacks."""
        comfy.samplers.preprocess_conds_hooks(self.conds)
        if comfy.samplers.get_total_hook_groups_in_conds(self.conds) <= 1:
            self.patcher.hook_mode = comfy.hooks.EnumHookMode.MinVram
        comfy.sampler_helpers.prepare_model_patcher(self.patcher, self.conds, self.model_options)
        comfy.samplers.filter_registered_hooks_on_conds(self.conds, self.model_options)

    def start(self, sigmas: Tensor) -> None:
        """Announce the run to the MODEL, after loading."""
        comfy.samplers.cast_to_load_options(
            self.model_options, device=self.patcher.load_device, dtype=self.patcher.model_dtype()
        )
        self.model_options.setdefault("transformer_options", {})["sample_sigmas"] = sigmas
        self.patcher.pre_run()

    def close(self) -> None:
        """Undo `open` and `start`, whether or not they were completed."""
        self.patcher.cleanup()
        comfy.samplers.cast_to_load_options(self.model_options, device=self.patcher.offload_device)
        self.patcher.hook_mode = self._hook_mode
        self.patcher.restore_hook_patches()


def process(patcher: ModelPatcher, conds: Conds, noise: Tensor, latent_image: Tensor | None, **kwargs: Any) -> Conds:
    """Process one expert's conditioning against its own model.

    Args:
        patcher: The expert's MODEL.
        conds: "positive" and "negative", either may be missing.
        noise: Start noise, shape (B, C, H, W).
        latent_image: The latent as it came in, before any model's scaling.
        **kwargs: Further arguments of `comfy.samplers.process_conds`.
    """
    model = patcher.model
    if latent_image is not None and torch.count_nonzero(latent_image) > 0:
        latent_image = model.process_latent_in(latent_image)
    return comfy.samplers.process_conds(model, noise, conds, latent_image=latent_image, **kwargs)


def same_conditioning(first: list[dict], second: list[dict]) -> bool:
    """Whether two processed conditionings ask a network the same."""
    return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and first.device == second.device and torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        keys = first.keys() - {"uuid"}
        return keys == second.keys() - {"uuid"} and all(_same(first[key], second[key]) for key in keys)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))
    if hasattr(first, "process_cond") and type(first) is type(second):
        return _same(first.cond, second.cond)
    if hasattr(first, "same_as") and type(first) is type(second):
        return first.same_as(second)
    return isinstance(first, (bool, int, float, str)) and type(first) is type(second) and first == second

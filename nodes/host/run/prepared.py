"""What a run is given, and one MODEL of it with all that is attached to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import comfy.hooks
import comfy.model_patcher
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor

from ..chain.conditioning_hooks import copy_hook_keyframes
from ..chain.expert_chain import Conditioning, Conds
from ..comfyui.devices import copies_at_work, copies_of
from ..spaces.run_state import RunState


class RunInputs(NamedTuple):
    """What ComfyUI gives a run, in the shape of the samples of one of its MODELs.

    Attributes:
        noise: Start noise, shape (B, C, …).
        latent_image: The latent as it came in, before any model's scaling.
        denoise_mask: Noise mask in the shape of the noise; None is everywhere.
        sigmas: Noise levels in the reference's form, shape (S + 1,).
        seed: The seed of the run.
        latent_shapes: Shapes of the parts of the latent; None where ComfyUI doesn't tell, and there is one.
    """

    noise: Tensor
    latent_image: Tensor
    denoise_mask: Tensor | None
    sigmas: Tensor
    seed: int | None
    latent_shapes: Sequence[Sequence[int]] | None

    @property
    def shapes(self) -> Sequence[Sequence[int]]:
        """Shapes of the parts of the latent; most have one part."""
        return self.latent_shapes or [self.noise.shape]

    def of_model(self, patcher: ModelPatcher, state: RunState) -> RunInputs:
        """The reference's inputs in the shape of a MODEL's samples, with which its conditioning is processed.

        Args:
            patcher: The MODEL.
            state: The state of the run, in the latent spaces of its experts.
        """
        spaces = state.spaces
        index = spaces.index_of(patcher)
        if index == 0:
            return self
        noise, latent = (spaces.framed(patcher, each[index]) for each in (state.noise, state.latents))
        if latent.any():  # `process` scales it anew
            latent = patcher.get_model_object("latent_format").process_out(latent)
        mask = self.denoise_mask
        if mask is not None:
            mask = spaces.framed(patcher, state.mask_of(index, mask))
        return self._replace(noise=noise, latent_image=latent, denoise_mask=mask, latent_shapes=[noise.shape])


def memory_of_pass(patcher: ModelPatcher, noise_shape: Sequence[int], conds: Conds) -> tuple[float, float]:
    """What ComfyUI expects a pass of a MODEL to take beside its weights, ControlNets of its conditioning included.

    Returns:
        Bytes with conditions and negatives in one batch, and with one after the other.
    """
    _, beside = comfy.sampler_helpers.get_additional_models(conds, patcher.model_dtype())
    whole, apart = comfy.sampler_helpers.estimate_memory(patcher, noise_shape, conds)
    return whole + beside, apart + beside


class PreparedModel:
    """Does for one MODEL what CFGGuider does for its only one: registers hooks, wrappers and callbacks, and so on.

    The reference expert's MODEL is prepared by CFGGuider itself; this is for the others.

    Args:
        patcher: The MODEL.
        conditionings: The CONDITIONINGs of all experts on it, by name.
        ending: Is closed at the end of the run; it gets what has to be undone.
    """

    def __init__(self, patcher: ModelPatcher, conditionings: dict[str, Conditioning], ending: ExitStack):
        self.patcher = patcher
        self.conds = {name: comfy.sampler_helpers.convert_cond(given) for name, given in conditionings.items()}
        self.guider = comfy.samplers.CFGGuider(patcher)  # nodes' wrappers around a run are given this one
        self.guider.model_options = comfy.model_patcher.create_model_options_clone(patcher.model_options)
        self._ending = ending
        ending.callback(patcher.restore_hook_patches)
        ending.callback(setattr, patcher, "hook_mode", patcher.hook_mode)
        ending.callback(comfy.samplers.cast_to_load_options, self.model_options, device=patcher.offload_device)
        ending.callback(patcher.cleanup)
        comfy.samplers.preprocess_conds_hooks(self.conds)
        copy_hook_keyframes(self.conds)
        if comfy.samplers.get_total_hook_groups_in_conds(self.conds) <= 1:
            self.patcher.hook_mode = comfy.hooks.EnumHookMode.MinVram
        comfy.sampler_helpers.prepare_model_patcher(self.patcher, self.conds, self.model_options)
        comfy.samplers.filter_registered_hooks_on_conds(self.conds, self.model_options)
        self.guider.conds = self.conds

    @property
    def model_options(self) -> dict[str, Any]:
        """The MODEL's prepared options; a wrapper around the run may put others in their place while it lasts."""
        return self.guider.model_options

    def needs(self, noise_shape: Sequence[int]) -> tuple[list[ModelPatcher], tuple[float, float]]:
        """The models to load beside the MODEL, and what a pass takes, see `memory_of_pass`.

        The MODEL's PREPARE_SAMPLING wrappers, which may change both, run around this instead of around loading.
        """
        memory = 0.0, 0.0

        def look(
            model: ModelPatcher, shape: Sequence[int], conds: Conds, *args: Any, **kwargs: Any
        ) -> tuple[Any, Conds, list[ModelPatcher]]:
            nonlocal memory
            if copies_of(model):  # they get what was attached to the MODEL since they were made
                model.match_multigpu_clones()
                comfy.sampler_helpers.preprocess_multigpu_conds(conds, model, self.model_options)
            additional, _ = comfy.sampler_helpers.get_additional_models(conds, model.model_dtype())
            additional += comfy.sampler_helpers.get_additional_models_from_model_options(self.model_options)
            additional += model.get_nested_additional_models()
            memory = memory_of_pass(model, shape, conds)
            return model.model, conds, additional

        wrappers = get_all_wrappers(WrappersMP.PREPARE_SAMPLING, self.model_options, is_model_options=True)
        look_within = WrapperExecutor.new_executor(look, wrappers).execute
        _, self.conds, additional = look_within(self.patcher, noise_shape, self.conds, model_options=self.model_options)
        return additional, memory

    def load_all_but_parameters(self) -> list[ModelPatcher]:
        """Do all that loading does except for the parameters, for a MODEL of whose clones another one is loaded.

        Returns:
            The models of its patches, which are to be loaded as well.
        """
        self._ending.callback(self.patcher.model_patches_to, self.patcher.offload_device)
        self.patcher.model_patches_to(self.patcher.load_device)
        self.patcher.model_patches_to(self.patcher.model_dtype())
        return self.patcher.model_patches_models()

    def announce(self, sigmas: Tensor) -> None:
        """Announce the run to the MODEL, after loading.

        Args:
            sigmas: Noise levels of the run, in this MODEL's form.
        """
        sigmas = sigmas.to(self.patcher.load_device)
        comfy.samplers.cast_to_load_options(
            self.model_options, device=self.patcher.load_device, dtype=self.patcher.model_dtype()
        )
        self.model_options.setdefault("transformer_options", {})["sample_sigmas"] = sigmas
        self._ending.enter_context(copies_at_work(self.patcher, self.model_options))
        self.patcher.pre_run()


def process(patcher: ModelPatcher, conds: Conds, inputs: RunInputs) -> Conds:
    """Process one expert's conditioning against its own model, on its own device.

    Args:
        patcher: The expert's MODEL.
        conds: "positive" and "negative", either may be missing.
        inputs: What ComfyUI gives the run, in the shape of the MODEL's samples.
    """
    network, device, mask = patcher.model, patcher.load_device, inputs.denoise_mask
    latent_image = inputs.latent_image.to(device)
    if torch.count_nonzero(latent_image) > 0:
        latent_image = network.process_latent_in(latent_image)
    return comfy.samplers.process_conds(
        network,
        inputs.noise.to(device),
        conds,
        device,
        latent_image=latent_image,
        denoise_mask=None if mask is None else mask.to(device),
        seed=inputs.seed,
        latent_shapes=inputs.latent_shapes,
    )

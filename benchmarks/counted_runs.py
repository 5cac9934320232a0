"""The runs whose steps are counted: core's, and products' of small networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.latent_formats
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from torch import nn

from mcdm_core.pictures import load_picture

from .networks import Size, conditioning, network, tiny_vae, with_lora
from .shipped import INPUTS

SIZE = Size(channels=32, context=16, latent=8, vae_channels=32)
OWN_LATENT = 32  # height and width of latents of this pack's experts
WEIGHT = 3.5
EULER, ANCESTRAL, CFG_PP, OWN = "core", "core, euler_ancestral", "core, euler_cfg_pp", "core, an expert of this pack"

Conds = Sequence[tuple[list, list]]


@dataclass(frozen=True)
class Run:
    """What is sampled, and how often its steps may wait and copy.

    Attributes:
        prepare: See `counting.asked`.
        networks: Likewise.
        core: Name of the run of core's that it is compared with.
        passes: Of how many such runs it may do what they do: the number of networks that a step asks.
        reads: How many numbers a step may wait for beside that: its noise level, where something depends on it.
        vaes: See `counting.asked`.
    """

    prepare: Callable[[int], Callable[[], Any]]
    networks: Sequence[nn.Module]
    core: str = EULER
    passes: int = 1
    reads: float = 0
    vaes: Sequence[nn.Module] = ()


class Runs:
    """Makes the runs.

    Args:
        node: Runs one of the pack's nodes.
    """

    def __init__(self, node: Callable[..., tuple]):
        self._node = node
        self._models = [network(SIZE, seed) for seed in (1, 2)]
        self._told = [(conditioning(SIZE, seed), conditioning(SIZE, 0)) for seed in (1, 2, 3)]

    def by_name(self) -> dict[str, Run]:
        """All of them. Products without a number of networks have two."""
        one, two = self._models
        pair = self._chain([one, two])
        loras = [with_lora(one, seed) for seed in (3, 4)]
        (flow,) = ModelSamplingSD3().patch(two, 3.0)
        left = (torch.arange(64) < 32).float().expand(1, 64, 64)
        masked = self._chain([one, two], mask=[left, 1 - left])
        curve = {"weight_curve": "0: 0.5, 1: 1"}
        (rising,) = self._node("MCDM_Schedule", experts=pair, **curve)
        (rising_masked,) = self._node("MCDM_Schedule", experts=masked, **curve)
        (fewer,) = self._node("MCDM_Passes", experts=pair, start=0.0, end=1.0, refresh=4)
        (ddim,) = self._node("MCDM_SamplerDDIM")
        return {
            EULER: self._core(one, self._told),
            "one expert": self._product(self._chain([one])),
            "one network twice": self._product(self._chain([one, one])),
            "a checkpoint and two LoRAs": self._product(self._chain([one, *loras])),
            "two networks": self._product(pair, passes=2),
            "masks": self._product(masked, passes=2),
            "windows": self._product(self._chain([one, two], start=[0.0, 0.5], end=[0.5, 1.0]), reads=1),
            "a weight curve": self._product(rising, passes=2, reads=1),
            "masks and a weight curve": self._product(rising_masked, passes=2, reads=1),
            "one of them a flow": self._product(self._chain([one, flow]), passes=2),
            "own nulls": self._own_nulls(),
            "Fewer Passes": self._product(fewer, passes=2, reads=1 + 2 / 4),
            "two latent spaces": self._spaces(),
            "Product as Model": self._as_model(),
            "DDIM Sampler": self._product(pair, sampler=ddim, passes=2),
            ANCESTRAL: self._core(one, self._told, "euler_ancestral", core=ANCESTRAL),
            "euler_ancestral": self._product(pair, sampler="euler_ancestral", core=ANCESTRAL, passes=2),
            CFG_PP: self._core(one, self._told, "euler_cfg_pp", core=CFG_PP),
            "euler_cfg_pp": self._product(pair, sampler="euler_cfg_pp", core=CFG_PP, passes=2),
            **self._own_experts(),
        }

    def _own_nulls(self) -> Run:
        told = [(condition, conditioning(SIZE, 10 + place)) for place, (condition, _) in enumerate(self._told)]
        return self._product(self._chain(self._models, told), kind="MCDM_OwnNullGuider", passes=2)

    def _spaces(self) -> Run:
        """A network of SDXL's latents and one of SD1.5's."""
        models = [network(SIZE, 3, comfy.latent_formats.SDXL()), self._models[1]]
        vaes = [tiny_vae(SIZE, seed) for seed in (1, 2)]
        coders = [coder for vae in vaes for coder in vae.first_stage_model.children()]
        return self._product(self._chain(models, vae=vaes), passes=2, vaes=coders)

    def _own_experts(self) -> dict[str, Run]:
        models, told = [], []
        for kind in ("hair", "skin"):
            model, encoder, _ = self._node("MCDM_LoadExpert", expert_name=f"{kind}.safetensors")
            picture = load_picture(INPUTS / f"face_1_{kind}.png")
            models.append(model)
            told.append(self._node("MCDM_EncodeMap", encoder=encoder, map=kind, image=picture)[:2])
        product = self._product(self._chain(models, told), core=OWN, passes=2, latent=OWN_LATENT)
        return {OWN: self._core(models[0], told, core=OWN, latent=OWN_LATENT), "two experts of this pack": product}

    def _chain(self, models: Sequence[ModelPatcher], told: Conds = (), **settings: Sequence[Any]) -> tuple:
        """Experts, with a value for each of every further setting."""
        chain: tuple = ()
        for place, (model, (condition, null)) in enumerate(zip(models, told or self._told, strict=False)):
            wired = {"model": model, "condition": condition, "null": null, "experts": chain, "weight": WEIGHT}
            own = {name: values[place] for name, values in settings.items()}
            (chain,) = self._node("MCDM_Expert", **wired, **own)
        return chain

    def _core(self, model: ModelPatcher, told: Conds, sampler: str = "euler", **options: Any) -> Run:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(*told[0])
        guider.set_cfg(WEIGHT)
        return _run(guider, [model], sampler, **options)

    def _product(self, chain: tuple, kind: str = "MCDM_Guider", sampler: Any = "euler", **options: Any) -> Run:
        (guider,) = self._node(kind, experts=chain)
        return _run(guider, [expert.model for expert in chain], sampler, **options)

    def _as_model(self) -> Run:
        """By core's KSampler."""
        chain = self._chain(self._models)
        (model,) = self._node("MCDM_ProductModel", model=chain[0].model, experts=chain[1:])

        def prepare(steps: int) -> Callable[[], Any]:
            sampler = comfy.samplers.KSampler(model, steps, model.load_device, "euler", "normal")
            start, empty = _start(SIZE.latent)
            told = *self._told[0], WEIGHT
            return lambda: sampler.sample(start, *told, latent_image=empty, disable_pbar=True, seed=1)

        return Run(prepare, _networks(self._models), passes=2)


def _run(guider: Any, models: Sequence[ModelPatcher], sampler: Any, latent: int = SIZE.latent, **options: Any) -> Run:
    sampler = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
    schedule = guider.model_patcher.get_model_object("model_sampling")

    def prepare(steps: int) -> Callable[[], Any]:
        sigmas = comfy.samplers.calculate_sigmas(schedule, "normal", steps)
        start = _start(latent)
        return lambda: guider.sample(*start, sampler, sigmas, disable_pbar=True, seed=1)

    return Run(prepare, _networks(models), **options)


def _networks(models: Sequence[ModelPatcher]) -> list[nn.Module]:
    return list(dict.fromkeys(model.model.diffusion_model for model in models))


def _start(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, and an empty latent."""
    noise = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(1))
    return noise, torch.zeros_like(noise)

"""Runs of products on a card of so many GiB, which the tests' accelerator stands in for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.sd
import torch

from tests.accelerator import bytes_in_use, counted, counts_of, set_hollow_from, set_total_memory

from .layouts import SD15, SDXL, Family
from .networks import SIZES, tiny_vae, with_lora

GIB = 1 << 30
CONTEXT = GIB // 2  # that a driver and its libraries take of a card for themselves
STEPS = 2  # of a run; what the second moves, every further one does
WEIGHT = 3.5


@dataclass(frozen=True)
class Need:
    """What a product takes of a card on which it fits, in GiB.

    Attributes:
        networks: Its networks and VAEs.
        of_pass: The most that a run takes beside them.
        moved: Bytes that each step moves to the card even so: levels, and prompts.
    """

    networks: float
    of_pass: float
    moved: int


@dataclass(frozen=True)
class Outcome:
    """What becomes of a product on a card.

    Attributes:
        moved: Bytes that each step moves to the card because it doesn't fit.
        refused: The sentence that a run ends with, where it doesn't end well.
    """

    moved: int = 0
    refused: str = ""

    @property
    def fits(self) -> bool:
        """Whether steps move nothing but what they move on any card."""
        return not self.refused and self.moved == 0

    def __str__(self) -> str:
        """A cell of the table."""
        return self.refused or ("fits" if self.fits else f"{self.moved / GIB:.2f} a step")


@dataclass(frozen=True)
class Run:
    """A run, in bytes: what networks and VAEs take between steps, the most in use, what the last step moves there."""

    networks: int
    peak: int
    moved: int


@dataclass(frozen=True)
class Part:
    """Experts of one checkpoint.

    Attributes:
        family: The checkpoint's.
        loras: How many LoRAs, each an expert; 0 is the checkpoint itself.
    """

    family: Family
    loras: int = 0


PRODUCTS: dict[str, tuple[Part, ...]] = {
    f"{kind} {family.name}, {8 * family.side}²": parts
    for family in (SD15, SDXL)
    for kind, parts in {
        "one checkpoint of": (Part(family),),
        "two checkpoints of": (Part(family), Part(family)),
        "two LoRAs on one checkpoint of": (Part(family, loras=2),),
    }.items()
} | {"SD1.5 beside SDXL, 1024² and 512², tiny VAEs": (Part(SDXL), Part(SD15))}


class Cards:
    """Runs products on cards.

    Args:
        node: Runs one of the pack's nodes.
        values: Whether everything is computed, as a check of what is measured without.
    """

    def __init__(self, node: Callable[..., tuple], values: bool = False):
        self._values = values
        comfy.model_management.MIN_WEIGHT_MEMORY_RATIO = 0.0  # as core sets it for NVIDIA
        self._node = node
        self.products = PRODUCTS

    def need(self, name: str, batch: int) -> Need:
        """What a product takes where there is room for all."""
        run = self._run(name, batch, 1024 * GIB)
        return Need(run.networks / GIB, (run.peak - run.networks) / GIB, run.moved)

    def outcome(self, name: str, batch: int, size: int, need: Need) -> Outcome:
        """What becomes of a product on a card of so many GiB."""
        try:
            return Outcome(self._run(name, batch, size * GIB - CONTEXT).moved - need.moved)
        except comfy.model_management.OOM_EXCEPTION as error:
            return Outcome(refused=str(error))

    @torch.inference_mode()
    def _run(self, name: str, batch: int, total: int) -> Run:
        """Sample on a card of so many bytes on which nothing is yet."""
        parts = self.products[name]
        side = parts[0].family.side
        noise = torch.randn(batch, 4, side, side)
        if not self._values:
            set_hollow_from(noise.nbytes + 1)  # latents keep their values, of which some are refused
        guider = self._guider(parts)
        schedule = guider.model_patcher.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(schedule, "normal", STEPS)
        euler = comfy.samplers.sampler_object("euler")
        in_use: list[int] = []
        moved: list[int] = []

        def report(*_: Any) -> None:
            in_use.append(bytes_in_use())
            moved.append(counts_of().to_device.bytes)

        set_total_memory(total)
        try:
            with counted() as counts:
                start = torch.zeros_like(noise)
                guider.sample(noise, start, euler, sigmas, callback=report, disable_pbar=True, seed=1)
        finally:
            comfy.model_management.unload_all_models()
        return Run(in_use[0], counts.peak, moved[-1] - moved[-2])

    def _guider(self, parts: Sequence[Part]) -> Any:
        chain: tuple = ()
        several = len({part.family for part in parts}) > 1
        for place, part in enumerate(parts):
            model = part.family.checkpoint()
            models = [with_lora(model, 1 + seed) for seed in range(part.loras)] or [model]
            wired = {"null": part.family.conditioning(0), "vae": tiny_vae(SIZES["full"], place) if several else None}
            for lora, own in enumerate(models):
                condition = part.family.conditioning(1 + place + lora)
                wired |= {"model": own, "condition": condition, "experts": chain}
                (chain,) = self._node("MCDM_Expert", **wired, weight=WEIGHT, reliability=WEIGHT)
        return self._node("MCDM_Guider", experts=chain)[0]

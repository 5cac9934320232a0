"""The experts that ship, united as the template *Faces - fewer passes* unites them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import comfy.sample
from torch import Tensor

from mcdm_core.pictures import load_picture

from .comfyui import ROOT

INPUTS = ROOT / "workflows" / "inputs"
CAPTION = "a smiling man with red hair on a white background"
WEIGHTS = (2.0, 2.0, 4.0)  # hair map, skin map, caption: as in *Faces - fewer passes*
SEED = 1


class Faces:
    """One face's hair map, skin map and caption, each read by an expert of its own with a null of its own.

    Args:
        node: Runs one of the pack's nodes.
        batch: Pictures that are made at once.
        steps: Of a run.

    Attributes:
        device: Where the first expert is asked.
        dtype: Of the networks.
    """

    def __init__(self, node: Callable[..., tuple], batch: int, steps: int):
        self.node = node
        self._models, self._told = [], []
        for kind in ("hair", "skin", "text"):
            model, encoder, _ = node("MCDM_LoadExpert", expert_name=f"{kind}.safetensors")
            if kind == "text":
                told = node("MCDM_EncodeText", encoder=encoder, text=CAPTION)
            else:
                picture = load_picture(INPUTS / f"face_1_{kind}.png")
                told = node("MCDM_EncodeMap", encoder=encoder, map=kind, image=picture)
            self._models.append(model)
            self._told.append(told[:2])
            if kind == "hair":
                (self._latent,) = node("MCDM_EmptyLatent", encoder=encoder, batch_size=batch)
        (self._sigmas,) = node("MCDM_Sigmas", model=self._models[0], spacing=str(steps))
        self.device, self.dtype = self._models[0].load_device, self._models[0].model.get_dtype()

    def chain(self, weights: Sequence[float] = WEIGHTS) -> tuple:
        """The experts, with a weight for each."""
        chain: tuple = ()
        for model, (condition, null), weight in zip(self._models, self._told, weights, strict=True):
            wired = {"model": model, "condition": condition, "null": null, "experts": chain}
            (chain,) = self.node("MCDM_Expert", **wired, weight=weight)
        return chain

    def sample(self, chain: tuple, sampler: Any, scores: bool = False) -> dict[str, Any]:
        """A whole run of a product as a sampling node makes it; gives the LATENT."""
        (guider,) = self.node("MCDM_Guider", experts=chain, scores=scores)
        start: Tensor = self._latent["samples"]
        noise = comfy.sample.prepare_noise(start, SEED)
        made = guider.sample(noise, start, sampler, self._sigmas, disable_pbar=True, seed=SEED)
        return {**self._latent, "samples": made}

    @contextmanager
    def counting(self) -> Iterator[list[int]]:
        """Collect how many rows each call of a network has."""
        calls: list[int] = []

        def count(network: Any, args: tuple) -> None:
            calls.append(len(args[0]))

        networks = [model.model.diffusion_model for model in self._models]
        handles = [network.register_forward_pre_hook(count) for network in networks]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()

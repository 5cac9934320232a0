"""Small products, and students that learn them."""

from __future__ import annotations

import comfy.samplers
import torch

from .clones import lora_on
from .oracle.networks import network
from .oracle.variants import conditioning

SHAPE = (1, 4, 8, 12)
WIDGETS = {
    "rule": "product",
    "steps": 8,
    "batch_size": 2,
    "learning_rate": 0.01,
    "rank": 4,
    "seed": 3,
    "training_dtype": "fp32",
    "lora_dtype": "fp32",
    "run_name": "mix",
    "resume": True,
}


def pair(base, strength=0.3):
    """Two MODELs of one network, each with a LoRA of its own."""
    return [lora_on(base, seed, strength) for seed in (21, 22)]


def inputs(node, layout="eps", base=None, models=None, prompts=1, weight=0.5, reliabilities=(1.0, 1.0), **changes):
    """Inputs of Train LoRA on Product: two LoRAs on one network, and the network alone as the student."""
    base = base or network(layout, 5)
    models = models or pair(base)
    chains = []
    for prompt in range(prompts):
        chain = ()
        for place, model in enumerate(models):
            given = {"condition": conditioning(10 * prompt + place), "null": conditioning(-1)}
            settings = {"weight": weight, "reliability": reliabilities[place], "start": 0.0, "end": 1.0}
            (chain,) = node("MCDM_Expert", model=model, experts=chain, **given, **settings)
        chains.append(chain)
    levels = comfy.samplers.calculate_sigmas(base.get_model_object("model_sampling"), "normal", 6)
    single = {"model": base, "latents": {"samples": torch.zeros(SHAPE)}, "sigmas": levels, **WIDGETS}
    lists = {"experts": chains, "positive": [conditioning(5 + prompt) for prompt in range(prompts)]}
    given = lists | {name: [value] for name, value in single.items()}
    return given | {name: value if name in lists else [value] for name, value in changes.items()}

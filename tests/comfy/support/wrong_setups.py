"""Wrong ways to wire a product, each with the expected error message."""

import copy
from types import SimpleNamespace

import comfy.controlnet
import comfy.latent_formats
import comfy_extras.nodes_model_advanced as advanced
import torch

from .clones import lora_on
from .oracle.networks import controlnet, network
from .places import DEVICES

NAN = float("nan")


class Setups:
    """Wrong ways to wire a product; each returns a chain, and sets the latent and noise levels for it."""

    def __init__(self, load, chain):
        self.load = load
        self.chain = chain
        self.latent = torch.zeros(2, 3, 32, 32)
        self.sigmas = torch.tensor([20.0, 3.0, 0.0])

    def one(self, **settings):
        return self.chain((self.load("hair"), settings))

    def two(self, first=None, **settings):
        return self.chain((self.load("hair"), first or {}), (self.load("skin"), settings))

    def latent_of(self, *shape):
        self.latent = torch.zeros(shape)
        return self.two()

    def checkpoints(self, *layouts, width=16):
        """Experts on networks of these layouts, the last with tokens of this width, and a latent for them."""
        self.latent = torch.zeros(2, 4, 8, 12)
        widths = [*[16] * (len(layouts) - 1), width]
        tokens = [[[torch.zeros(1, 7, each), {}]] for each in widths]
        models = [network(layout, seed) for seed, layout in enumerate(layouts, start=1)]
        return [SimpleNamespace(model=m, condition=t, null=t) for m, t in zip(models, tokens, strict=True)]

    def latent_for_a_checkpoint(self, *shape):
        experts = self.checkpoints("eps")
        self.latent = torch.zeros(shape)
        return self.chain(*experts)

    def noise_levels(self, *sigmas):
        self.sigmas = torch.tensor(sigmas)
        return self.two()

    def condition_of(self, name, role="condition"):
        return self.two(**{role: getattr(self.load(name), role)})

    def on_device(self, name):
        expert = copy.copy(self.load("skin"))
        expert.model = expert.model.clone()
        expert.model.load_device = torch.device(name)
        return self.chain(self.load("hair"), expert)

    def network_on_two_devices(self):
        expert = self.load("hair")
        other = copy.copy(expert)
        other.model = expert.model.clone()
        other.model.load_device = DEVICES[1]
        return self.chain(expert, other)

    def controlnet_elsewhere(self):
        experts = self.checkpoints("eps", "eps")
        experts[1].model.load_device = DEVICES[1]
        control = {"control": controlnet(experts[1].model, 3)}
        condition = [[tokens, {**values, **control}] for tokens, values in experts[1].condition]
        return self.chain(experts[0], (experts[1], {"condition": condition}))

    def with_object(self, name, value, place=1):
        experts = [self.load("hair"), self.load("skin")]
        experts[place].model = experts[place].model.clone()
        experts[place].model.add_object_patch(name, value)
        return self.chain(*experts)

    def other_space(self):
        return self.with_object("latent_format", comfy.latent_formats.SDXL())

    def with_control(self, shared):
        control = comfy.controlnet.ControlBase()
        control.previous_controlnet = None
        conditions = {}
        experts = self.checkpoints("eps", "eps") if shared else [self.load("hair"), self.load("skin")]
        for place in (0, 1) if shared else (1,):
            tokens, values = experts[place].condition[0]
            conditions[place] = {"condition": [[tokens, {**values, "control": control}]]}
        return self.chain(*((expert, conditions.get(place, {})) for place, expert in enumerate(experts)))

    def with_control_for_clones(self, control, change):
        """A ControlNet that a MODEL shares with a changed clone."""
        (expert,) = self.checkpoints("eps")
        expert.condition = [[tokens, {**values, "control": control}] for tokens, values in expert.condition]
        other = SimpleNamespace(**{**vars(expert), "model": change(expert.model)})
        return self.chain(expert, other)

    def with_control_for_two_schedules(self):
        discrete = advanced.ModelSamplingDiscrete()
        control = comfy.controlnet.ControlNet()
        return self.with_control_for_clones(control, lambda model: discrete.patch(model, "eps", zsnr=True)[0])

    def with_control_lora_for_two_weights(self):
        return self.with_control_for_clones(comfy.controlnet.ControlLora({}), lambda model: lora_on(model, 2, 0.5))

    def gap_with_control_lora(self):
        """A gap beside a control LoRA, which ComfyUI cannot clean up if it has not started it."""
        (expert,) = self.checkpoints("eps")
        expert.condition = [[expert.condition[0][0], {"control": comfy.controlnet.ControlLora({})}]]
        return self.chain((expert, {"end": 0.5}))

    def product_as_expert(self, node):
        product = copy.copy(self.load("skin"))
        (product.model,) = node("MCDM_ProductModel", model=product.model, reliability=1.0, experts=self.one())
        return self.chain(self.load("hair"), product)


SETUPS = {
    "no expert": (lambda s, _: (), "at least one expert .* connect a Diffusion Expert"),
    "no condition": (lambda s, _: s.two(condition=None), r"Expert 2 \(small skin\) needs a prompt.* weight to 0"),
    "empty condition": (lambda s, _: s.two(condition=[]), "positive conditioning with an entry for expert 2 .*connect"),
    "empty null": (lambda s, _: s.two(null=[]), "negative conditioning with an entry for expert 2 .*connect"),
    "no null": (lambda s, _: s.two(null=None), "Expert 2 .* needs a negative.*Connect negative"),
    "no null beside a mask": (
        lambda s, _: s.two({"mask": torch.ones(1, 4, 4)}, null=None),
        "Expert 2 .* needs a negative.*Connect negative",
    ),
    "no null after a window": (
        lambda s, _: s.two({"end": 0.5, "weight": 0.5}, weight=0.5, null=None),
        "Expert 2 .* needs a negative.*sum to 0.5.*Connect negative",
    ),
    "reliabilities sum to 0": (
        lambda s, _: s.two({"reliability": 0.0}, reliability=0.0),
        r"positive sum .* expert 1 \(small hair\), expert 2 \(small skin\); raise",
    ),
    "the only reliable expert leaves": (
        lambda s, _: s.two({"end": 0.5}, reliability=0.0),
        "positive sum and got 0 for expert 2 .*raise",
    ),
    "weight is not finite": (lambda s, _: s.two(weight=NAN), "finite weight for expert 2 .*set one"),
    "reliability below 0": (lambda s, _: s.two(reliability=-1.0), "reliability of 0 or more for expert 2 .*set one"),
    "empty window": (lambda s, _: s.two(start=0.5, end=0.5), "start below end for expert 2 .*swap"),
    "gap at the beginning": (lambda s, _: s.one(start=0.5), "none at σ = 20; widen"),
    "gap beside a ControlNet that takes weights": (lambda s, _: s.gap_with_control_lora(), "none at σ = .*; widen"),
    "mask with NaN": (lambda s, _: s.two(mask=torch.full((1, 32, 32), NAN)), "mask values .* expert 2 .*repair"),
    "masks for another batch": (lambda s, _: s.two(mask=torch.ones(3, 32, 32)), "mask for expert 2 .* got 3; choose"),
    "mask without a height": (lambda s, _: s.two(mask=torch.ones(32)), "a height .* for expert 2 .*disconnect"),
    "mask without a pixel": (lambda s, _: s.two(mask=torch.ones(1, 0, 8)), "a height .* for expert 2 .*disconnect"),
    "latent of other channels": (lambda s, _: s.latent_of(2, 4, 32, 32), "3 channels for expert 1 .* 4; encode"),
    "latent of other channels for a checkpoint": (
        lambda s, _: s.latent_for_a_checkpoint(2, 16, 8, 12),
        "4 channels for expert 1 and got one of 16; encode .* the empty latent that ComfyUI has for this",
    ),
    "latent of another size": (
        lambda s, _: s.latent_of(2, 3, 64, 64),
        "Wrong latent for expert 1 .*32×32 pixels.* 64×64; connect",
    ),
    "latent of a video": (
        lambda s, _: s.latent_of(2, 3, 4, 32, 32),
        r"4 dimensions \(mostly a picture\) for expert 1 .* 5 .*\(mostly a video\); start from Empty Latent \(Expert\)",
    ),
    "other latent space": (
        lambda s, _: s.other_space(),
        "Expert 1 .*PixelSpace.* expert 2 .*SDXL.* each needs a VAE.*Connect",
    ),
    "one network on two devices": (
        lambda s, _: s.network_on_two_devices(),
        r"expert 1 .* and expert 2 .* share one .* on \w+:0 and \w+:1; choose",
    ),
    "a ControlNet on another device": (
        lambda s, _: s.controlnet_elsewhere(),
        r"device of expert 2, \w+:1, and got one on \w+:0, .*; move",
    ),
    "condition of another expert": (
        lambda s, _: s.condition_of("text"),
        "Wrong positive for expert 2 .*driven by a skin map .* driven by text about faces; connect",
    ),
    "null of another expert": (
        lambda s, _: s.condition_of("text", "null"),
        "Wrong negative for expert 2 .*driven by a skin map .* driven by text about faces; connect",
    ),
    "tokens for a pixel expert": (
        lambda s, _: s.two(condition=[[torch.zeros(1, 77, 768), {}]]),
        "Wrong positive for expert 2 .*without one; connect",
    ),
    "tokens of another CLIP": (
        lambda s, _: s.chain(*s.checkpoints("eps", "v", width=1024)),
        "positive conditioning of 16 values per token for expert 2 and got 1024; encode",
    ),
    "a ControlNet for two": (
        lambda s, _: s.with_control(shared=True),
        "ControlNet of its own for expert 2 .* expert 1 uses; add",
    ),
    "a ControlNet for two schedules": (
        lambda s, _: s.with_control_for_two_schedules(),
        "ControlNet of its own for expert 2 .* expert 1 uses; add",
    ),
    "a ControlNet that takes weights, for two LoRAs": (
        lambda s, _: s.with_control_lora_for_two_weights(),
        "ControlNet of its own for expert 2 .* expert 1 uses; add",
    ),
    "a ControlNet on a pixel expert": (
        lambda s, _: s.with_control(shared=False),
        "no ControlNet for expert 2 .* in its positive; add",
    ),
    "a product as an expert": (lambda s, node: s.product_as_expert(node), "model for expert 2 .*; chain"),
    "noise level without a number": (lambda s, _: s.noise_levels(20.0, NAN, 0.0), "finite noise levels .*; use"),
    "flow above 1": (
        lambda s, _: s.chain(*s.checkpoints("flow")),
        "from 0 to 1 for expert 1, a flow model, .* 20; make",
    ),
}

_CONDITION, _NULL, _MASK, _MODEL = ((1, setting) for setting in ("condition", "null", "mask", "model"))
MENDED_BY = {
    "empty condition": _CONDITION,
    "empty null": _NULL,
    "no null": _NULL,
    "no null beside a mask": _NULL,
    "no null after a window": _NULL,
    "reliabilities sum to 0": (0, "reliability"),
    "the only reliable expert leaves": (1, "reliability"),
    "mask with NaN": _MASK,
    "masks for another batch": _MASK,
    "mask without a height": _MASK,
    "mask without a pixel": _MASK,
    "other latent space": (0, "vae"),
    "one network on two devices": _MODEL,
    "a ControlNet on another device": _MODEL,
    "condition of another expert": _CONDITION,
    "null of another expert": _NULL,
    "tokens for a pixel expert": _CONDITION,
    "tokens of another CLIP": _CONDITION,
    "a ControlNet for two": _CONDITION,
    "a ControlNet for two schedules": _CONDITION,
    "a ControlNet that takes weights, for two LoRAs": _CONDITION,
    "a ControlNet on a pixel expert": _CONDITION,
    "a product as an expert": _MODEL,
}
"""Of those that an input of an expert's node mends: the expert's index, and the input."""

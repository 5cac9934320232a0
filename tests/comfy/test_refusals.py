"""Wrong set-ups get one sentence, before any network is called, and leave ComfyUI usable."""

import copy
import os
import pickle
import re
from types import SimpleNamespace

import pytest
import torch


class Code:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.fixture
def refused(node, load, chain, sample, passes):
    """Assert that something is refused in one sentence, no network is called, and the next run works."""

    def check(function, match):
        watched = passes.watch(load("hair"))
        with pytest.raises(ValueError, match=match) as error:
            function(watched)
        message = str(error.value)
        assert message.endswith(".")
        assert "\n" not in message
        assert re.search(r"[;:]", message), "a sentence should also say what to do"
        assert not passes.found
        sample(chain(load("hair")), steps=1)

    return check


def write(base, name, content):
    path = base / "models" / "mcdm" / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return name


def bad_files(base, small_experts):
    whole = (base / "models" / "mcdm" / small_experts["hair"]).read_bytes()
    return {
        "truncated": (write(base, "truncated.safetensors", whole[: len(whole) // 2]), "truncated"),
        "not a checkpoint": (write(base, "cat.safetensors", b"a picture of a cat, perhaps"), "not a checkpoint"),
        "pickle with code": (write(base, "code.pt", pickle.dumps({"a": Code()}, protocol=2)), "code"),
        "zip with code": (write(base, "zip.pt", {"a": Code()}), "code"),
        "missing keys": (write(base, "keys.safetensors", without_a_tensor(whole)), "lacks"),
        "no header": (write(base, "plain.pt", {"a": torch.zeros(1)}), "does not describe an expert"),
    }


def without_a_tensor(whole):
    """The file with one tensor renamed, so that sizes still fit."""
    return whole.replace(b'"out.0.bias"', b'"out.0.hair"')


KINDS = ["truncated", "not a checkpoint", "pickle with code", "zip with code", "missing keys", "no header"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_cannot_be_used(refused, node, base, small_experts, kind):
    name, match = bad_files(base, small_experts)[kind]
    refused(lambda _: node("MCDM_LoadExpert", expert_name=name), match)
    assert re.search(match, node.classes["MCDM_LoadExpert"].validate_inputs(name))


def encode_map(node, expert, **inputs):
    return node("MCDM_EncodeMap", encoder=expert.encoder, **{"map": "auto", "with_text": False, **inputs})


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({"map": "face", "mask": torch.ones(1, 32, 32)}, "driven by a hair map, not by a face map"),
        ({"mask": torch.full((1, 32, 32), torch.nan)}, "(?i)nan"),
        ({"image": torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1))}, "gray"),
        ({}, "neither"),
        ({"mask": torch.ones(1, 32, 32), "image": torch.ones(1, 32, 32, 3)}, "both"),
        ({"mask": torch.ones(1, 32, 32), "with_text": True}, "no text"),
    ],
    ids=["wrong kind", "NaN", "colours", "nothing", "both", "with_text"],
)
def test_maps_that_cannot_be_used(refused, node, inputs, match):
    refused(lambda expert: encode_map(node, expert, **inputs), match)


def test_text_for_a_map_expert(refused, node):
    refused(lambda expert: node("MCDM_EncodeText", encoder=expert.encoder, text="red"), "hair map, not by text")


NAN = float("nan")


class Setups:
    """Wrong ways to wire a product; each makes a chain, and what it is sampled with."""

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

    def noise_levels(self, *sigmas):
        self.sigmas = torch.tensor(sigmas)
        return self.two()

    def condition_of(self, name, role="condition"):
        return self.two(**{role: getattr(self.load(name), role)})

    def with_object(self, name, value, place=1):
        experts = [self.load("hair"), self.load("skin")]
        experts[place].model = experts[place].model.clone()
        experts[place].model.add_object_patch(name, value)
        return self.chain(*experts)

    def other_space(self):
        import comfy.latent_formats

        return self.with_object("latent_format", comfy.latent_formats.SDXL())

    def flow_above_1(self):
        from .oracle.networks import network

        self.latent = torch.zeros(2, 4, 8, 12)
        return self.chain(self.checkpoint(network("flow", 1), 16))

    def tokens_of_another_clip(self):
        from .oracle.networks import network

        self.latent = torch.zeros(2, 4, 8, 12)
        return self.chain(self.checkpoint(network("eps", 1), 16), self.checkpoint(network("v", 2), 1024))

    def checkpoint(self, model, width):
        tokens = [[torch.zeros(1, 7, width), {}]]
        return SimpleNamespace(model=model, condition=tokens, null=tokens)

    def with_control(self, shared):
        import comfy.controlnet

        control = comfy.controlnet.ControlBase()
        control.previous_controlnet = None
        conditions = {}
        if shared:
            from .oracle.networks import network

            self.latent = torch.zeros(2, 4, 8, 12)
            experts = [self.checkpoint(network("eps", seed), 16) for seed in (1, 2)]
        else:
            experts = [self.load("hair"), self.load("skin")]
        for place in (0, 1) if shared else (1,):
            tokens, values = experts[place].condition[0]
            conditions[place] = {"condition": [[tokens, {**values, "control": control}]]}
        return self.chain(*((expert, conditions.get(place, {})) for place, expert in enumerate(experts)))

    def product_as_expert(self, node):
        product = copy.copy(self.load("skin"))
        (product.model,) = node("MCDM_ProductModel", model=product.model, reliability=1.0, experts=self.one())
        return self.chain(self.load("hair"), product)


SETUPS = {
    "no expert": (lambda s, _: (), "at least one expert .* connect a Diffusion Expert"),
    "no condition": (lambda s, _: s.two(condition=None), r"condition for expert 2 \(small skin\).* weight to 0"),
    "empty condition": (lambda s, _: s.two(condition=[]), "condition with at least one entry for expert 2 .*connect"),
    "empty null": (lambda s, _: s.two(null=[]), "null with at least one entry for expert 2 .*connect"),
    "no null": (lambda s, _: s.two(null=None), "null for expert 2 .*connect its null"),
    "no null beside a mask": (
        lambda s, _: s.two({"mask": torch.ones(1, 4, 4)}, null=None),
        "null for expert 2 .*connect its null",
    ),
    "no null after a window": (
        lambda s, _: s.two({"end": 0.5, "weight": 0.5}, weight=0.5, null=None),
        "null for expert 2 .*sum to 0.5.*connect its null",
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
    "reliability is not finite": (lambda s, _: s.two(reliability=float("inf")), "reliability .* expert 2 .*set one"),
    "empty window": (lambda s, _: s.two(start=0.5, end=0.5), "start below end for expert 2 .*swap"),
    "window backwards": (lambda s, _: s.two(start=0.7, end=0.2), "start below end for expert 2 .*swap"),
    "window in steps": (lambda s, _: s.two(start=0.0, end=20.0), "between 0 and 1 for expert 2 .*shares"),
    "gap at the beginning": (lambda s, _: s.one(start=0.5), "none at σ = 20; widen"),
    "gap in the middle": (lambda s, _: s.two({"end": 0.4}, start=0.6), "none at σ = .*; widen"),
    "gap at the end": (lambda s, _: s.one(end=0.9), "none at σ = .*; widen"),
    "mask with NaN": (lambda s, _: s.two(mask=torch.full((1, 32, 32), NAN)), "mask values .* expert 2 .*repair"),
    "masks for another batch": (lambda s, _: s.two(mask=torch.ones(3, 32, 32)), "mask for expert 2 .* got 3; choose"),
    "mask without a height": (lambda s, _: s.two(mask=torch.ones(32)), "a height .* for expert 2 .*disconnect"),
    "latent of other channels": (lambda s, _: s.latent_of(2, 4, 32, 32), "3 channels for expert 1 .* 4; encode"),
    "latent of another size": (lambda s, _: s.latent_of(2, 3, 64, 64), "expert 1 .*32×32 pixels.* 64×64; use"),
    "latent of a video": (lambda s, _: s.latent_of(2, 3, 4, 32, 32), "4 dimensions for expert 1 .* 5; a video"),
    "other latent space": (lambda s, _: s.other_space(), "expert 1 .*PixelSpace.* expert 2 .*SDXL.*; combine"),
    "condition of another expert": (
        lambda s, _: s.condition_of("text"),
        "Wrong condition for expert 2 .*driven by a skin map .* driven by text; connect",
    ),
    "null of another expert": (
        lambda s, _: s.condition_of("text", "null"),
        "Wrong null for expert 2 .*driven by a skin map .* driven by text; connect",
    ),
    "tokens for a pixel expert": (
        lambda s, _: s.two(condition=[[torch.zeros(1, 77, 768), {}]]),
        "Wrong condition for expert 2 .*without one; connect",
    ),
    "tokens of another CLIP": (
        lambda s, _: s.tokens_of_another_clip(),
        "condition of 16 values per token for expert 2 and got 1024; encode",
    ),
    "a ControlNet for two": (
        lambda s, _: s.with_control(shared=True),
        "ControlNet of its own for expert 2 .* expert 1 uses; add",
    ),
    "a ControlNet on a pixel expert": (
        lambda s, _: s.with_control(shared=False),
        "no ControlNet for expert 2 .* in its condition; add",
    ),
    "a product as an expert": (lambda s, node: s.product_as_expert(node), "model for expert 2 .*; chain"),
    "noise level without a number": (lambda s, _: s.noise_levels(20.0, NAN, 0.0), "finite noise levels .*; use"),
    "flow above 1": (lambda s, _: s.flow_above_1(), "from 0 to 1 for expert 1, a flow model, .* 20; make"),
}


@pytest.mark.parametrize("setup", SETUPS)
def test_products_that_cannot_be_sampled(refused, load, chain, node, setup, monkeypatch):
    import comfy.model_base
    import comfy.samplers

    build, match = SETUPS[setup]
    calls, apply = [], comfy.model_base.BaseModel.apply_model
    monkeypatch.setattr(
        comfy.model_base.BaseModel, "apply_model", lambda *args, **kwargs: calls.append(1) or apply(*args, **kwargs)
    )

    def run(_):
        setups = Setups(load, chain)
        (guider,) = node("MCDM_Guider", experts=build(setups, node))
        guider.sample(
            torch.zeros_like(setups.latent), setups.latent, comfy.samplers.sampler_object("euler"), setups.sigmas
        )

    refused(run, match)
    assert len(calls) == 1  # the run that `refused` tries afterwards


def test_an_unreadable_spacing(node):
    answer = node.classes["MCDM_Sigmas"].validate_inputs("a hundred")
    assert "timestep spacing" in answer


def test_files_that_are_missing(node):
    assert 'no "nowhere.safetensors"' in node.classes["MCDM_LoadExpert"].validate_inputs("nowhere.safetensors")

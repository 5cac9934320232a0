"""Wrong set-ups get one sentence, before any network is called, and leave ComfyUI usable."""

import re

import comfy.samplers
import comfy.supported_models
import pytest
import torch

from ..support.places import placed
from ..support.server.posts import said_of
from ..support.wrong_setups import MENDED_BY, SETUPS, Setups


@pytest.fixture
def refused(node, load, chain, sample, passes):
    """Assert that something is refused on one line, no network is called, and the next run works; give the error."""

    def check(function, match):
        watched = passes.watch(load("hair"))
        with pytest.raises(ValueError, match=match) as error:
            function(watched)
        message = str(error.value)
        assert message.endswith(".")
        assert "\n" not in message
        assert re.search(r"[;:]|\. (Connect|Set) ", message), "it should also say what to do"
        assert not passes.found
        sample(chain(load("hair")), steps=1)
        return error.value

    return check


def test_a_file_that_cannot_be_used(refused, node, host, base, small_experts):
    """Of other kinds of them see `files/test_hostile_files.py`."""
    folder, name = base / "models" / "mcdm", "truncated.safetensors"
    whole = (folder / small_experts["hair"]).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    refused(lambda _: node("MCDM_LoadExpert", expert_name=name), "truncated")
    assert "truncated" in said_of(host, node, "MCDM_LoadExpert", expert_name=name)


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


@pytest.mark.parametrize("setup", SETUPS)
def test_products_that_cannot_be_sampled(refused, load, chain, node, setup, at_each_pass):
    (build, match), calls = SETUPS[setup], []
    at_each_pass(lambda *_: calls.append(1))

    def run(_):
        setups = Setups(load, chain)
        (guider,) = node("MCDM_Guider", experts=build(setups, node))
        guider.sample(
            torch.zeros_like(setups.latent), setups.latent, comfy.samplers.sampler_object("euler"), setups.sigmas
        )

    error = refused(run, match)
    assert len(calls) == 1  # the run that `refused` tries afterwards
    assert (getattr(error, "index", None), getattr(error, "input", None)) == MENDED_BY.get(setup, (None, None))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("SD15", {"context_dim": 7}),
        ("SDXL", {"context_dim": 7}),
        ("SD3", {"context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 7}}}),
        ("AuraFlow", {"cond_seq_dim": 7}),
        ("Flux", {"context_in_dim": 7}),
        ("Chroma", {"context_in_dim": 7}),
        ("Lumina2", {"cap_feat_dim": 7}),
        ("SD3", {}),
    ],
)
def test_tokens_of_another_width(host, kind, config):
    bare = {"disable_unet_model_creation": True, "in_channels": 4}
    model = getattr(comfy.supported_models, kind)({**bare, **config}).get_model({})
    patcher = placed(model)
    latent = torch.zeros(1, model.latent_format.latent_channels, 8, 8)

    def check(width):
        tokens = [[torch.zeros(1, 2, width), {}]]
        host.run.refusals.checked_spaces((host.chain.expert_chain.WiredTerm(patcher, tokens, tokens),), latent)

    check(7)
    if config:
        with pytest.raises(ValueError, match="7 values per token for expert 1 and got 8"):
            check(8)
    else:
        check(8)  # the configuration doesn't tell


def test_one_device_may_have_two_names(load, chain, sample):
    assert sample(Setups(load, chain).on_device("cpu:0"), steps=1).isfinite().all()


def test_an_unreadable_spacing(host, node):
    assert "timestep spacing" in said_of(host, node, "MCDM_Sigmas", spacing="a hundred")


@pytest.mark.parametrize("name", ["nowhere.safetensors", "../../x", "\0", "", 3, -0.5, True, {"a": 1}, float("nan")])
def test_files_that_are_missing(host, node, name):
    assert (f'no "{name}"' if name != "" else "got none") in said_of(host, node, "MCDM_LoadExpert", expert_name=name)

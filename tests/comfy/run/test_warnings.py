"""What the node that samples says: that every weight is 0, or that captions want a sampler that adds noise."""

import logging

import pytest
import torch

from ..support.core_samplers import core_ksampler

SAID = "Every weight is 0, so the picture follows no prompt; raise the weight of a Diffusion Expert."
ONE = {"samples": torch.zeros(1, 3, 32, 32)}


@pytest.fixture
def said(caplog):
    """How often the warning was given by a function."""

    def count(function):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "mcdm_pack"):
            function()
        return caplog.messages.count(SAID)

    return count


@pytest.mark.parametrize("kind", ["MCDM_Guider", "MCDM_OwnNullGuider"])
def test_a_guider_says_so_when_it_is_made(load, chain, node, said, kind):
    hair, skin = load("hair"), load("skin")
    idle = {"weight": 0.0}
    assert said(lambda: node(kind, experts=chain((hair, idle), (skin, idle)))) == 1
    assert said(lambda: node(kind, experts=chain((hair, idle), skin))) == 0
    assert said(lambda: node(kind, experts=chain((hair, idle), (skin, {"weight": -1.0})))) == 0


def test_unconditional_experts_are_meant_to_follow_nothing(load, chain, node, said):
    alone = {"weight": 0.0, "condition": None}
    assert said(lambda: node("MCDM_Guider", experts=chain((load("hair"), alone)))) == 0


def test_a_sampler_says_so_once_a_run(load, chain, sample, said):
    assert said(lambda: sample(chain((load("hair"), {"weight": 0.0})), ONE, steps=2)) == 1


def test_the_sampler_of_a_product_as_model_says_so(load, chain, product, said):
    hair = load("hair")
    model = product(hair, chain((load("skin"), {"weight": 0.0})))
    assert said(lambda: core_ksampler(model, hair, 0.0, latent=ONE)) == 1
    assert said(lambda: core_ksampler(model, hair, 2.0, latent=ONE)) == 0


@pytest.mark.parametrize(("expert", "sampler", "warned"), [
    ("text", "euler", True),
    ("text", "dpmpp_2m", True),
    ("text", "euler_ancestral", False),
    ("text", "dpmpp_2m_sde", False),
    ("hair", "euler", False),
])  # fmt: skip
def test_a_sampler_without_noise_is_warned_of(load, chain, sample, caplog, expert, sampler, warned):
    with caplog.at_level(logging.WARNING, "mcdm_pack"):
        sample(chain(load(expert)), sampler_name=sampler, steps=2)
    assert (f"and the sampler {sampler} adds none; choose euler_ancestral." in caplog.text) is warned


def test_a_sweep_says_so_once(load, chain, sweep, caplog):
    text = load("text")
    with caplog.at_level(logging.WARNING, "mcdm_pack"):
        sweep(chain(text), text.vae, expert_index=1, values="0.5, 1", vary="weight", seeds=1, steps=1)
    assert caplog.text.count("adds none") == 1

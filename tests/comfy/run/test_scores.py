"""Scores that ride with samples: gathered by a run, taken by Choose Samples, left behind by whatever changes them."""

import copy
import gc
import logging
import re

import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced

SIGMAS = torch.tensor([20.0, 3.0, 1.0, 0.5, 0.0])
REFUSED = "carry the scores of this chain's run and got some that don't; turn `scores` on"


@pytest.fixture
def experts(load, chain):
    return lambda *settings: chain(*zip((load("hair"), load("skin")), settings or WEIGHTS, strict=True))


WEIGHTS = ({"weight": 1.5}, {"weight": 2.0})


@pytest.fixture
def sampled(node, host):
    """What SamplerCustomAdvanced makes with a guider of these experts."""

    def sample(experts, sampler="euler_ancestral", sigmas=SIGMAS, batch=4):
        (guider,) = node("MCDM_Guider", experts=experts, scores=True)
        if isinstance(sampler, str):
            sampler = comfy.samplers.sampler_object(sampler)
        latent = {"samples": torch.zeros(batch, 3, 32, 32)}
        return SamplerCustomAdvanced().sample(Noise_RandomNoise(2), guider, sampler, sigmas, latent)[0]

    return sample


@pytest.fixture
def choose(node):
    return lambda experts, latent, count=2: node("MCDM_Choose", experts=experts, samples=latent, count=count)


@pytest.mark.parametrize("count", [1, 2])
def test_a_picture_outside_every_mask_is_chosen_last_and_not_counted_as_lifted(
    load, chain, sampled, choose, caplog, count
):
    """What one of the experts lifts, the other doesn't; so by two of them no picture is lifted."""
    masks, hair = torch.cat([torch.zeros(1, 32, 32), torch.ones(3, 32, 32)]), load("hair")
    settings = ({"weight": 1.5, "mask": masks}, {"weight": -1.0, "mask": masks})[:count]
    product = chain(*((hair, own) for own in settings))
    kept, text = choose(product, latent := sampled(product), 4)
    lines = text.splitlines()
    assert lines[-1] == "picture 1: outside every mask"
    assert all("smallest lift" in line for line in lines[:-1])
    assert torch.equal(kept["samples"][-1], latent["samples"][0])
    lifted = sum("smallest lift +" in line for line in lines)
    assert f"Only {lifted} of the 4 pictures show every prompt; 4 are kept all the same." in caplog.text
    assert count == 1 or lifted == 0


def test_choosing_asks_nothing(load, chain, sampled, choose, passes, host):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    product = chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0}))
    latent = sampled(product)
    scores = host.run.scores.scores_of(latent["samples"], product)
    passes.found.clear()
    kept, text = choose(product, latent, 4)
    assert not passes.found
    order = scores.amin(1).argsort(descending=True)
    assert torch.equal(kept["samples"], latent["samples"][order])
    assert [line.split()[1] for line in text.splitlines()] == [f"{row + 1}:" for row in order.tolist()]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda latent: latent | {"samples": latent["samples"][1:]}, "fewer"),
        (lambda latent: latent | {"samples": latent["samples"] * 1.0}, "others"),
    ],
)
def test_whatever_changes_samples_leaves_their_scores_behind(experts, sampled, choose, change, name):
    product = experts()
    changed = change(sampled(product))
    with pytest.raises(ValueError, match=REFUSED):
        choose(product, changed)


def test_scores_of_another_chain_do_not_count(experts, sampled, choose, caplog):
    others = experts()
    latent = sampled(others)
    with caplog.at_level(logging.INFO, "mcdm_pack"), pytest.raises(ValueError, match=REFUSED):
        choose(experts(), latent)
    assert list(others) != list(experts())  # of equal numbers, and still there
    assert "The samples carry scores of another chain of experts." in caplog.text


@pytest.mark.parametrize(
    ("settings", "sigmas", "message"),
    [
        (({"weight": 0.4}, {"weight": 0.6}), SIGMAS, r"expert 1 \(.*\) is asked its prompt and its negative"),
        (({"weight": 1.5}, {"weight": 2.0, "reliability": 0.0}), SIGMAS, r"expert 2 \(.*\) is asked its prompt"),
        (WEIGHTS, SIGMAS[:-1], r"for noise is left in them; give the run noise levels to 0"),
    ],
)
def test_a_run_that_cannot_tell_says_so_and_nothing_is_chosen(
    experts, sampled, choose, caplog, settings, sigmas, message
):
    product = experts(*settings)
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        latent = sampled(product, sigmas=sigmas)
    with pytest.raises(ValueError, match=REFUSED):
        choose(product, latent)
    (warning,) = [of.getMessage() for of in caplog.records if "carry no scores" in of.getMessage()]
    assert re.search(message, warning)


def test_nothing_copies_scored_samples_on_their_way_into_a_latent(experts, node, host):
    """Samples on the way out of a guider are where ComfyUI keeps what nodes hand on."""
    (guider,) = node("MCDM_Guider", experts=experts(), scores=True)
    noise = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    made = guider.sample(noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), SIGMAS, seed=1)
    assert made.device == comfy.model_management.intermediate_device()
    assert made.to(comfy.model_management.intermediate_device()) is made


def test_samples_keep_no_experts_and_scores_no_samples(experts, sampled, host):
    gc.collect()
    before = len(host.run.scores._SCORES)
    latent = sampled(experts(), batch=2)
    gc.collect()
    assert [of() for of in host.run.scores._SCORES[latent["samples"]].experts] == [None, None]
    assert host.run.scores.scores_of(latent["samples"], experts()) is None
    assert len(host.run.scores._SCORES) == before + 1
    del latent
    gc.collect()
    assert len(host.run.scores._SCORES) == before


def test_scored_samples_can_be_saved_and_copied(experts, sampled, host, tmp_path):
    product = experts()
    samples = sampled(product, batch=2)["samples"]
    torch.save({"samples": samples}, tmp_path / "samples.pt")
    saved = torch.load(tmp_path / "samples.pt", weights_only=True)["samples"]
    for other in (saved, copy.deepcopy(samples)):
        assert torch.equal(other, samples)
        assert host.run.scores.scores_of(other, product) is None


def test_a_cancelled_run_leaves_no_scores_and_the_next_one_has_them(experts, sampled, host):
    def cancelled(model, x, sigmas, extra_args, callback, disable):
        model(x, sigmas[0].expand(len(x)), **extra_args)
        raise comfy.model_management.InterruptProcessingException

    product = experts()
    gc.collect()
    before = len(host.run.scores._SCORES)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sampled(product, sampler=comfy.samplers.KSAMPLER(cancelled))
    assert len(host.run.scores._SCORES) == before
    assert host.run.scores.scores_of(sampled(product)["samples"], product) is not None


def test_an_expert_whose_mask_leaves_out_a_picture_does_not_count_for_it(load, chain, sampled, choose):
    hair, skin = load("hair"), load("skin")
    masks = torch.cat([torch.zeros(1, 32, 32), torch.ones(3, 32, 32)])
    without = chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0, "mask": masks}))
    _, text = choose(without, sampled(without), 4)
    found = {line.split(":")[0]: line for line in text.splitlines()}
    own = re.search(r"expert 1 \([^)]*\) ([+-][\d.]+)", found["picture 1"])[1]
    assert f"smallest lift {own} (" in found["picture 1"]
    assert found["picture 1"].endswith("none, outside the mask)")
    assert not any("outside" in line for row, line in found.items() if row != "picture 1")

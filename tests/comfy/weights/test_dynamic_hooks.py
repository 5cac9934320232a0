"""Hooks that change weights, on MODELs with dynamic VRAM: those of ComfyUI's classic kind take their place."""

from dataclasses import replace
from types import SimpleNamespace

import comfy.hooks
import comfy.model_patcher
import pytest
import torch

from ..support.attachments import hooked, hooks_like_a_lora, with_lora
from ..support.clones import lora_on
from ..support.closeness import rounded
from ..support.core_samplers import core_ksampler
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.guider import BruteForceGuider
from ..support.oracle.networks import lora, network
from ..support.oracle.variants import expert_of, schedule_hooks

pytestmark = pytest.mark.usefixtures("dynamic_vram")


@pytest.fixture
def parts(pack):
    """Experts on a network, a LoRA clone of it or another network, with a hooked LoRA or without."""

    def make(disable_dynamic=False):
        plain, other = (network("eps", seed, disable_dynamic=disable_dynamic) for seed in (1, 2))
        hooks = schedule_hooks(comfy.hooks.create_hook_lora(lora(plain, 8), 0.6, 0.0))
        named = {"plain": plain, "LoRA clone": lora_on(plain, 9), "another network": other}

        def expert(name, place, with_hooks=False):
            found = expert_of(named[name], place)
            condition = [[text, {**values, "hooks": hooks}] for text, values in found.condition]
            return replace(found, condition=condition) if with_hooks else found

        return SimpleNamespace(expert=expert)

    return make


@pytest.fixture
def sampled(guider_of, sampled):
    def run(experts, brute_force=False, guider=None):
        guider = guider or (BruteForceGuider if brute_force else guider_of)(experts)
        return sampled(guider, steps=4, shape=(1, 4, 8, 12))

    return run


PAIRS = [("plain", "another network"), ("plain", "LoRA clone"), ("LoRA clone", "plain"), ("plain", "plain")]


@pytest.mark.one_of(12)
@pytest.mark.parametrize("where", [(True, False), (False, True), (True, True)], ids=["first", "second", "both"])
@pytest.mark.parametrize("names", PAIRS, ids=" + ".join)
def test_agrees_with_brute_force(parts, sampled, names, where):
    ours, theirs, classic = (
        [made.expert(name, place, where[place]) for place, name in enumerate(names)]
        for made in (parts(), parts(), parts(disable_dynamic=True))
    )
    assert all(expert.model.is_dynamic() for expert in ours)
    expected, result = sampled(theirs, brute_force=True), sampled(ours)
    assert (result - expected).abs().max() <= rounded(1e-4) * expected.std()
    assert (result - sampled(classic)).abs().max() <= rounded(0.0) * expected.std()
    assert torch.equal(result, sampled(ours))
    made = parts()
    plain = [made.expert(name, place) for place, name in enumerate(names)]
    assert (sampled(plain) - result).abs().max() > 1e-2 * expected.std()


def test_clones_with_hooks_share_the_second_network(parts, guider_of):
    made = parts()
    experts = [made.expert(name, place, True) for place, name in enumerate(("plain", "LoRA clone"))]
    guider = guider_of(experts)
    first, second = (expert.model for expert in guider.experts)
    assert first is guider.model_patcher
    assert first is not second
    assert first.model is second.model is not experts[0].model.model
    assert not first.is_dynamic()


def test_a_file_is_read_once_for_its_hooks(parts, guider_of):
    expert = parts().expert("plain", 0, True)
    function, arguments = expert.model.cached_patcher_init
    calls = []
    expert.model.cached_patcher_init = (lambda *a, **kw: calls.append(1) or function(*a, **kw)), arguments
    for _ in range(3):
        guider_of([expert])
    assert calls == [1]


def test_one_expert_is_cores_guider(parts, sampled):
    expert = parts().expert("LoRA clone", 0, True)
    assert torch.equal(sampled([expert]), sampled(None, guider=core_guider(expert)))


@pytest.mark.one_of(9)
@pytest.mark.parametrize("where", ["reference", "other", "both"])
@pytest.mark.parametrize("second", ["clone", "same MODEL", "another expert"])
def test_through_product_as_model(load, chain, product, where, second):
    """In ComfyUI's KSampler, and with pixel experts, which are read from their files once more."""

    def picture():
        hair = load("hair")
        other = {"clone": lambda: with_lora(hair), "same MODEL": lambda: hair, "another expert": lambda: load("skin")}
        other = other[second]()
        reference = hooked(hair, hooks_like_a_lora(hair.model, 5)) if where != "other" else hair
        if where != "reference":
            other = hooked(other, hooks_like_a_lora(other.model, 6))
        # From the middle of the schedule: at its highest level, 20,291, float32 rounds away what is compared here.
        return hair, core_ksampler(product(hair, chain((other, {"weight": 0.7}))), reference, 1.5, denoise=0.5)

    hair, ours = picture()
    assert hair.model.is_dynamic()
    assert torch.equal(ours, picture()[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
        hair, classic = picture()
    assert not hair.model.is_dynamic()
    torch.testing.assert_close(ours, classic, atol=rounded(2e-5), rtol=0)  # which batches what is on one MODEL


def test_a_model_that_cannot_be_loaded_again_is_refused(parts, guider_of):
    made = parts()
    experts = [made.expert("plain", 0), made.expert("another network", 1, True)]
    experts[1].model.cached_patcher_init = None
    with pytest.raises(
        ValueError, match=r"loaders for expert 2, whose positive or negative has hooks, and got .*; load"
    ):
        guider_of(experts)


def test_hooks_on_the_null_alone(parts, sampled):
    """ComfyUI's guider looks at both."""
    made = [parts() for _ in range(2)]
    pairs = []
    for each in made:
        first, second = each.expert("plain", 0), each.expert("another network", 1, True)
        pairs.append([first, replace(second, condition=second.null, null=second.condition)])
    expected = sampled(pairs[1], brute_force=True)
    assert (sampled(pairs[0]) - expected).abs().max() <= rounded(1e-4) * expected.std()

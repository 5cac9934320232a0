"""The product against brute force: every expert alone at every step, combined by Eq. 10 in float64.

Every run checks 40 fixed combinations. All 400 (300 pairs, 100 triples):
`python -m pytest tests/comfy/evaluation/test_oracle.py --all-combinations`.
"""

from dataclasses import replace
from functools import partial

import comfy.samplers
import comfy_extras.nodes_model_advanced as advanced
import pytest
import torch

import nodes

from ..support.clones import lora_on
from ..support.closeness import AGREEMENT, rounded
from ..support.core_nodes import ON_GUIDANCE
from ..support.oracle.combinations import EXPERTS, all_combinations, fixed_combinations, name_of
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.guider import BruteForceGuider
from ..support.oracle.networks import network
from ..support.oracle.variants import ATTACHMENTS, PREDICTIONS, conditioning, expert_of
from ..support.small_runs import sampled

ROUNDED = 3e-4  # where Euler steps from σ = 4519 to 3.5, float32 rounds x by up to 5e-4 before it shrinks
STEPS = 4
MODELS = ("eps", "v", "flow", "SDXL", "zero-terminal-SNR", "x0", "LCM", "EDM", "shifted flow")


def pytest_generate_tests(metafunc):
    if "combination" in metafunc.fixturenames:
        everything = metafunc.config.getoption("--all-combinations", default=False)
        chosen = all_combinations() if everything else fixed_combinations()
        metafunc.parametrize("combination", chosen, ids=name_of)


@pytest.fixture
def product_of(product_of):
    """Sample a chain with Product Guider."""
    return partial(product_of, steps=STEPS)


def brute_force(experts, sampler_name="euler", hooks_ask=False):
    return sampled(BruteForceGuider(experts, hooks_ask), sampler_name, STEPS)


def test_the_fixed_combinations_have_every_expert():
    chosen = fixed_combinations()
    assert {expert for _, experts in chosen for expert in experts} == set(EXPERTS)
    assert len({sampler for sampler, _ in chosen}) == 4
    assert len(set(all_combinations())) == 400


@pytest.mark.one_of(24)
def test_agrees_with_brute_force(casts, product_of, assert_agree, combination):
    sampler_name, experts = combination
    ours, theirs = ([cast.expert(*expert, place) for place, expert in enumerate(experts)] for cast in casts)
    assert_agree(product_of(ours, sampler_name), brute_force(theirs, sampler_name))


@pytest.mark.one_of(24)
@pytest.mark.parametrize("sampler", comfy.samplers.SAMPLER_NAMES)
def test_every_sampler_agrees_with_brute_force(models, product_of, assert_agree, sampler):
    ours, theirs = ([expert_of(found["eps"], 0), expert_of(found["v"], 1)] for found in models)
    assert_agree(product_of(ours, sampler), brute_force(theirs, sampler))


@pytest.mark.long
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_attachment_matters(casts, prediction):
    """Else agreement would say nothing about it."""
    _, cast = casts
    plain, bare_copy = cast.expert(prediction, "plain", 1), expert_of(cast.parts[prediction].bare_copy, 0)
    for other, attachment in EXPERTS:
        if other == prediction and attachment != "plain":
            attached = brute_force([plain, cast.expert(prediction, attachment, 0)])
            bare = bare_copy if attachment == "LoRA" else cast.expert(prediction, "plain", 0)
            without = brute_force([plain, bare])
            assert (attached - without).abs().max() > 100 * AGREEMENT * without.std(), attachment


@pytest.fixture(scope="module")
def models(pack):
    """Every way of predicting, twice over: core's nodes make some of clones, of a model beside them or of one apart.

    Only the product gets MODELs that share a network: loaded in turn, with dynamic VRAM, they mix up their schedules
    (ComfyUI#16490).
    """

    def make(base):
        discrete, flow = advanced.ModelSamplingDiscrete(), advanced.ModelSamplingSD3()
        found = {name: base(name) for name in MODELS[:4]}
        (found["zero-terminal-SNR"],) = discrete.patch(base("v"), "v_prediction", True)
        (found["x0"],) = discrete.patch(base("eps"), "x0", False)
        (found["LCM"],) = discrete.patch(base("eps"), "lcm", False)
        (found["EDM"],) = advanced.ModelSamplingContinuousEDM().patch(base("SDXL"), "edm", 80.0, 0.002)
        (found["shifted flow"],) = flow.patch(base("flow"), 1.5)
        return found

    def fresh(name):
        return network(name, 1 + MODELS.index(name))

    return make({name: fresh(name) for name in MODELS[:4]}.get), make(fresh)


@pytest.mark.one_of(18)
@pytest.mark.parametrize(("reference", "other"), [(a, b) for a in MODELS for b in MODELS if a != b])
def test_every_prediction_meets_every_other(models, product_of, assert_agree, reference, other):
    ours, theirs = ([expert_of(found[reference], 0), expert_of(found[other], 1)] for found in models)
    within = ROUNDED if reference == "zero-terminal-SNR" else AGREEMENT
    assert_agree(product_of(ours), brute_force(theirs), within)


SAG = ON_GUIDANCE["SelfAttentionGuidance"]


@pytest.mark.one_of(6)
@pytest.mark.parametrize("second", ["the same MODEL", "a LoRA on it", "a ControlNet"])
@pytest.mark.parametrize("reliability", [1.0, 0.0])
def test_sag_reads_the_first_experts_null_and_no_other(casts, product_of, assert_agree, second, reliability):
    """The others have it as well, on the same patch, and nulls of their own."""

    def make(cast):
        bare = cast.parts["eps"].plain
        model = SAG.attach(bare)
        found = [expert_of(model, place) for place in range(3)]
        if second == "a LoRA on it":
            found[1] = replace(found[1], model=lora_on(model, 8, 0.5))
        elif second == "a ControlNet":
            found[1] = replace(cast.expert("eps", "ControlNet", 1), model=model)
        found[2] = replace(found[2], null=conditioning(-9, tokens=3))
        return [replace(found[0], reliability=reliability), *found[1:]]

    ours, theirs = map(make, casts)
    assert_agree(product_of(ours), brute_force(theirs, hooks_ask=True), rounded(AGREEMENT))


def test_a_hook_that_reads_the_first_experts_null_gets_it_outside_its_window_too(models, product_of):
    first, second = expert_of(SAG.attach(models[0]["eps"]), 0), expert_of(models[0]["v"], 1)
    assert product_of([replace(first, reliability=0.0, start=0.5), second]).isfinite().all()
    with pytest.raises(ValueError, match=r"Expert 1 needs a negative, because a node .*\. Connect"):
        product_of([replace(first, reliability=0.0, null=None), second])


@pytest.mark.one_of(8)
@pytest.mark.parametrize("attachment", ATTACHMENTS[:-2])  # core knows no mask and no window
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_one_expert_is_cores_guider(casts, product_of, sampled, prediction, attachment):
    expert = casts[0].expert(prediction, attachment, 0)
    assert torch.equal(product_of([expert]), sampled(core_guider(expert), steps=STEPS))


def test_areas_and_timestep_ranges_of_a_conditioning(casts, product_of, sampled):
    expert = casts[0].expert("eps", "plain", 0)
    (area,) = nodes.ConditioningSetArea().append(expert.condition, 32, 32, 32, 16, 1.0)
    (late,) = nodes.ConditioningSetTimestepRange().set_range(expert.null, 0.3, 1.0)
    expert = replace(expert, condition=nodes.ConditioningCombine().combine(area, late)[0])
    assert torch.equal(product_of([expert]), sampled(core_guider(expert), steps=STEPS))

"""A product takes a pass for each weight that is not 0 and for each distinct null that counts, and no more."""

from dataclasses import replace

import comfy.hooks
import comfy.samplers
import pytest
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_model_advanced import RescaleCFG

import nodes

STEPS = 8


@pytest.fixture
def calls(network_calls, product_of):
    """Sample a chain; returns its network calls."""

    def run(experts, sampler_name="euler", batch=1):
        network_calls.clear()
        product_of(experts, sampler_name, STEPS, (batch, 4, 8, 12))
        return network_calls

    return run


def rows_of(calls):
    return sum(call.rows for call in calls)


@pytest.fixture
def pair(cast):
    """Two experts on two networks."""
    return cast.expert("eps", "plain", 0), cast.expert("eps", "LoRA", 1)


@pytest.mark.parametrize(
    ("weights", "reliabilities", "terms"),
    [
        ((2.0, 1.5), (0.0, 1.0), 3),
        ((0.0, -1.0), (1.0, 0.0), 2),
        ((2.0, -1.0), (1.0, 1.0), 2),  # W = 1: no null
    ],
)
def test_nothing_but_the_terms_is_evaluated(calls, pair, weights, reliabilities, terms):
    experts = [
        replace(expert, weight=w, reliability=a) for expert, w, a in zip(pair, weights, reliabilities, strict=True)
    ]
    assert rows_of(calls(experts)) == terms * STEPS


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    ("attachments", "terms"),
    [
        (("plain", "plain"), 3),  # one null
        (("plain", "mask"), 3),
        (("plain", "LoRA clone"), 4),  # other weight patches
        (("plain", "patched attention"), 4),
        (("plain", "hooked LoRA schedule"), 4),
        (("plain", "ControlNet"), 4),  # other conditioning
        (("LoRA clone", "LoRA clone"), 3),
        (("hooked LoRA schedule", "hooked LoRA schedule"), 3),
    ],
)
@pytest.mark.parametrize("prediction", ["eps", "flow"])
def test_only_distinct_nulls_are_evaluated(cast, calls, prediction, attachments, terms):
    experts = [cast.expert(prediction, attachment, place) for place, attachment in enumerate(attachments)]
    assert rows_of(calls(experts)) == terms * STEPS


def test_rows_are_terms_times_batch_times_entries(cast, calls):
    first, second = (cast.expert("eps", "plain", place) for place in (0, 1))
    (both,) = nodes.ConditioningCombine().combine(first.condition, second.condition)
    assert rows_of(calls([replace(first, condition=both)], batch=3)) == (2 + 1) * 3 * STEPS


def test_every_network_is_told_the_noise_levels_of_the_run(calls, pair):
    networks = {expert.model.model.diffusion_model for expert in pair}
    told = {(call.network, len(call.given["transformer_options"]["sample_sigmas"])) for call in calls(pair)}
    assert told == {(network, STEPS + 1) for network in networks}


@pytest.mark.parametrize("attachment", ["plain", "LoRA clone", "patched attention"])
def test_experts_on_one_model_run_in_one_call(cast, calls, attachment):
    """One null for all; patches are told what each row is, as core tells them."""
    experts = [cast.expert("eps", attachment, place) for place in (0, 1, 2)]
    made = calls(experts)
    assert len(made) == STEPS
    assert all(sorted(call.roles) == [0, 0, 0, 1] for call in made)


def test_clones_that_differ_in_guidance_only_run_in_one_call(cast, calls):
    experts = [cast.expert("eps", "plain", place) for place in (0, 1, 2)]
    rescaled = RescaleCFG().patch(experts[1].model, 0.7)[0]
    unlike_at_1 = experts[2].model.clone()
    unlike_at_1.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
    made = calls([experts[0], replace(experts[1], model=rescaled), replace(experts[2], model=unlike_at_1)])
    assert [sorted(call.roles) for call in made] == [[0, 0, 0, 1]] * STEPS


def with_wrapper_hook(expert, calls):
    """An expert whose condition adds a wrapper to every pass of its MODEL, as hooks of that scope do."""

    def wrapper(executor, x, t, *args, **kwargs):
        calls.append(len(x))
        return executor(x, t, *args, **kwargs)

    hook = comfy.hooks.TransformerOptionsHook({"wrappers": {WrappersMP.DIFFUSION_MODEL: {"counted": [wrapper]}}})
    group = comfy.hooks.HookGroup()
    group.add(hook)
    condition = comfy.hooks.set_hooks_for_conditioning(expert.condition, group)
    return replace(expert, condition=condition)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("cloned", [False, True])
@pytest.mark.parametrize("hooked", [0, 1])
def test_hooks_in_conditioning_keep_to_their_own_expert(cast, calls, hooked, cloned):
    counted = []
    experts = [cast.expert("eps", "plain", place) for place in (0, 1)]
    experts[hooked] = with_wrapper_hook(experts[hooked], counted)
    if cloned:
        experts[hooked] = replace(experts[hooked], model=experts[hooked].model.clone())
    assert rows_of(calls(experts)) == 4 * STEPS
    assert sum(counted) == 2 * STEPS  # the condition and the null of that expert


@pytest.mark.parametrize(("sampler_name", "terms"), [("euler", 1), ("euler_cfg_pp", 2), ("euler_ancestral_cfg_pp", 2)])
def test_cfg_plus_plus_gets_its_null_at_weight_1(cast, calls, sampler_name, terms):
    expert = cast.expert("eps", "plain", 0)
    assert rows_of(calls([replace(expert, weight=1.0)], sampler_name)) == terms * STEPS

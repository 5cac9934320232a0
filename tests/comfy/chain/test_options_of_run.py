"""Functions of nodes that keep something from step to step in the `model_options` that they are handed.

In core these are one dictionary for a run. Momentum Guidance and Sliding Mode Control of sd-perturbed-attention keep
theirs there.
"""

import importlib
from dataclasses import replace
from functools import partial

import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from ..support.attachments import split
from ..support.clones import lora_on
from ..support.closeness import assert_close
from ..support.core_samplers import core_ksampler
from ..support.leaks import Living, state_of
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.networks import network

STEPS = 4
KEPT = "kept by a test"


def mean_before(options, value):
    """The running mean of earlier values; of the first one, itself."""
    kept = options.setdefault(KEPT, {})
    mean = kept.get("mean", value)
    kept["mean"] = 0.6 * mean + 0.4 * value
    return mean


def post(args):
    return args["denoised"] + 0.5 * (args["denoised"] - mean_before(args["model_options"], args["denoised"]))


def pre(args):
    cond, uncond = args["conds_out"]
    return [cond + 0.5 * (cond - mean_before(args["model_options"], cond)), uncond]


def instead(args):
    change = args["cond_denoised"] - args["uncond_denoised"]
    change = change + 0.5 * (change - mean_before(args["model_options"], change))
    return args["input"] - (args["uncond_denoised"] + args["cond_scale"] * change)


def asking(args):
    """Guides away from what the network answers to another sample, the more the more often it has asked."""
    kept = args["model_options"].setdefault(KEPT, {})
    kept["times"] = kept.get("times", 0) + 1

    given = args["model"], [args["cond"]], 0.9 * args["input"], args["sigma"], args["model_options"]
    (answer,) = comfy.samplers.calc_cond_batch(*given)
    return args["denoised"] + 0.2 * kept["times"] * (args["cond_denoised"] - answer)


def counting(args):
    """For `louder`, which the network's calls go through."""
    inside = args["model_options"]["transformer_options"]
    inside[KEPT] = inside.get(KEPT, 0) + 1
    return args["denoised"]


def louder(apply_model, args):
    steps = args["c"]["transformer_options"].get(KEPT, 0)
    return apply_model(args["input"], args["timestep"], **args["c"]) * (1 + 0.1 * steps)


def growing(by):
    """A wrapper around the passes of a step, whose answers grow from step to step."""

    def wrapper(executor, model, conds, x, sigma, options):
        options[KEPT] = options.get(KEPT, 0) + by
        return [answer * (1 + options[KEPT]) for answer in executor(model, conds, x, sigma, options)]

    return wrapper


def wrap(model, wrapper):
    model.add_wrapper(WrappersMP.CALC_COND_BATCH, wrapper)


def in_place_of_the_batch(args):
    options = args["model_options"]
    options[KEPT] = options.get(KEPT, 0) + 0.1
    found = comfy.samplers.calc_cond_batch(args["model"], args["conds"], args["input"], args["sigma"], options)
    return [answer * (1 + options[KEPT]) for answer in found]


def count_in_the_network(model):
    model.set_model_sampler_post_cfg_function(counting)
    model.set_model_unet_function_wrapper(louder)


grow = growing(0.1)

ATTACH = {
    "post": lambda model: model.set_model_sampler_post_cfg_function(post),
    "pre": lambda model: model.set_model_sampler_pre_cfg_function(pre),
    "instead": lambda model: model.set_model_sampler_cfg_function(instead),
    "asking": lambda model: model.set_model_sampler_post_cfg_function(asking),
    "in the network": count_in_the_network,
    "around the passes": lambda model: wrap(model, grow),
}


def with_kept(expert, kind):
    other = replace(expert, model=expert.model.clone())
    ATTACH[kind](other.model)
    return other


@pytest.fixture
def bare(bare):
    """An expert with nothing attached by its place, whose null is as long as its condition."""
    return partial(bare, null_tokens=6)


@pytest.fixture
def run(product_of):
    """Sample experts by Product Guider."""
    return partial(product_of, steps=STEPS)


@pytest.fixture
def by_core_guiders(by_core):
    """Sample experts by core's own guiders, one for each."""
    return partial(by_core, steps=STEPS)


@pytest.fixture
def core_alone(sampled):
    """Sample an expert by core's CFGGuider."""
    return lambda expert: sampled(core_guider(expert), steps=STEPS)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("kind", ATTACH)
def test_one_model_as_two_experts_is_core_at_the_sum_of_weights(bare, run, core_alone, kind):
    expert = with_kept(bare(), kind)
    theirs = core_alone(replace(expert, weight=2.5))
    assert_close(run([replace(expert, weight=1.6), replace(expert, weight=0.9)]), theirs)
    assert (theirs - core_alone(replace(bare(), weight=2.5))).abs().max() > 1e-2 * theirs.std()


@pytest.mark.one_of(4)
@pytest.mark.parametrize("kind", [*ATTACH, "in place of the batch"])
def test_one_expert_is_core_to_the_bit(bare, run, core_alone, monkeypatch, kind):
    replaces = "in place of the batch"
    monkeypatch.setitem(ATTACH, replaces, lambda m: m.set_model_sampler_calc_cond_batch_function(in_place_of_the_batch))
    expert = with_kept(bare(), kind)
    assert torch.equal(run([expert]), core_alone(expert))


@pytest.mark.one_of(6)
@pytest.mark.parametrize("kind", ATTACH)
def test_nothing_is_kept_after_a_run(bare, guider_of, sampled, kind):
    experts = [with_kept(bare(0), kind), with_kept(bare(1), kind)]
    models = [expert.model for expert in experts]
    guider = guider_of(experts)
    first, before, living = sampled(guider, steps=STEPS), state_of(*models), Living.now()
    assert torch.equal(sampled(guider, steps=STEPS), first)
    assert torch.equal(sampled(guider_of(experts), steps=STEPS), first)
    assert state_of(*models) == before
    assert Living.now().tensors == living.tensors
    for model in models:
        assert KEPT not in model.model_options
        assert KEPT not in model.model_options["transformer_options"]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("replaces", [False, True], ids=["around the passes", "in place of the batch"])
def test_two_experts_keep_theirs_apart(bare, run, by_core_guiders, replaces):
    """Under one name."""

    def experts():
        first, second = bare(0), bare(1)
        if replaces:
            first.model.set_model_sampler_calc_cond_batch_function(in_place_of_the_batch)
        else:
            wrap(first.model, grow)
        wrap(second.model, growing(0.25))
        return [first, second]

    theirs = by_core_guiders(experts())
    assert_close(run(experts()), theirs)
    assert (theirs - by_core_guiders([bare(0), bare(1)])).abs().max() > 1e-2 * theirs.std()


@pytest.mark.one_of(2)
@pytest.mark.parametrize("wrapper", [None, split(4)], ids=["in one pass", "given up"])
def test_a_lora_beside_its_base(bare, run, by_core_guiders, wrapper):
    """From the second step on they share passes; where that fails, what the pass kept doesn't count either."""

    def experts(base):
        models = [base().clone() for _ in range(2)]
        for model in models:
            wrap(model, grow)
            if wrapper is not None:
                model.set_model_unet_function_wrapper(wrapper)
        return [bare(0, models[0]), bare(1, lora_on(models[1], 8))]

    shared = network("eps", 1)
    theirs = by_core_guiders(experts(lambda: network("eps", 1)))
    assert_close(run(experts(lambda: shared)), theirs)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("kind", ["post", "asking", "in the network", "around the passes"])
def test_product_as_model_is_core_at_the_sum_of_weights(bare, chain, product, kind):
    latent = {"samples": torch.zeros(2, 4, 8, 12)}
    expert = with_kept(bare(), kind)
    model = product(expert, chain((expert, {"weight": 0.9})))
    theirs = core_ksampler(expert.model, expert, 2.5, latent=latent)
    assert_close(core_ksampler(model, expert, 1.6, latent=latent), theirs)


@pytest.fixture
def watched():
    """Let functions of a MODEL tell the `model_options` that each of them is handed."""

    def watch(model):
        found = []

        def guidance(args):
            found.append(args["model_options"])
            return args["uncond"] + args["cond_scale"] * (args["cond"] - args["uncond"])

        def see(args, result):
            found.append(args["model_options"])
            return args[result]

        def around(executor, *args):
            found.append(args[-1])
            return executor(*args)

        wrap(model, around)
        model.set_model_sampler_pre_cfg_function(lambda args: see(args, "conds_out"))
        model.set_model_sampler_cfg_function(guidance)
        model.set_model_sampler_post_cfg_function(lambda args: see(args, "denoised"))
        return found

    return watch


def assert_one(found, times):
    assert len(found) == times
    assert all(each is found[0] for each in found)
    assert "model_function_wrapper" not in found[0]  # nor is anything of the product left in it
    assert not found[0]["transformer_options"]["wrappers"].get("apply_model")


def test_each_model_has_one_for_the_run(bare, run, watched):
    """Its function around the passes, and guidance on the first."""
    first, second = bare(0), bare(1)
    found = [watched(expert.model) for expert in (first, second)]
    run([first, replace(first, weight=0.5), second])
    assert_one(found[0], 4 * STEPS)
    assert_one(found[1], STEPS)
    assert found[0][0] is not found[1][0]


def test_each_model_of_two_latent_spaces_has_one(spaces, joint_chain, node, sampled, watched):
    groups = [spaces("latents", (32, 32), (2.0, 1.0), (-0.5, 1.0)), spaces("pixels", (32, 32), (1.5, 2.0))]
    found = [watched(group.members[0].loaded.model) for group in groups]
    (guider,) = node("MCDM_Guider", experts=joint_chain(groups))
    sampled(guider, shape=(1, 4, 4, 4), sigmas=(8.0, 2.0, 0.6, 0.0))
    assert_one(found[0], 4 * 3)
    assert_one(found[1], 3)


def test_an_expert_on_a_worker_keeps_its_own(bare, pack):
    """The worker is asked for one prediction after the other, for the whole of a run."""
    served, wire = (importlib.import_module(f"mcdm_pack.nodes.workers.{name}") for name in ("served", "wire"))
    expert, sigmas, answers = bare(), torch.tensor([8.0, 2.0, 0.0]), []
    wrap(expert.model, grow)
    x = torch.ones(1, 4, 8, 12)

    def serve(answer):
        for _ in range(STEPS):
            point = {"expert": 3, "role": "positive", "x": wire.to_buffer(x), "sigma": 2.0}
            answers.extend(wire.to_tensor(each) for each in answer([point]))

    setup = {"experts": [{"index": 3, "place": 0, "levels": wire.to_buffer(sigmas)}], "seed": 3, "denoise_mask": None}
    setup |= {"noise": wire.to_buffer(x), "latent_image": wire.to_buffer(torch.zeros_like(x))}
    made = [{"model": expert.model, "condition": expert.condition, "null": expert.null}]
    served.serve_run(setup, made, serve)
    for step, answer in enumerate(answers, start=1):
        torch.testing.assert_close(answer / answers[0], torch.full_like(x, (1 + 0.1 * step) / 1.1))


def test_what_is_undone_leaves_the_dictionaries_in_place(host):
    """As after a pass that is given up."""
    options = {"count": 1, "group": {"mean": 2.0, "inside": {}}, "hooks": [post]}
    group, inside = options["group"], options["group"]["inside"]
    undo = host.comfyui.network_calls.undoing(options)
    options["count"], group["mean"], group["more"], inside["most"], options["new"] = 5, 3.0, 4.0, 5.0, {}
    options["hooks"].append(pre)
    undo()
    assert options == {"count": 1, "group": {"mean": 2.0, "inside": {}}, "hooks": [post]}
    assert options["group"] is group
    assert group["inside"] is inside

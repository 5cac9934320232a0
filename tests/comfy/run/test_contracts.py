"""What holds of every case: off it changes no bit, it runs where a product does, and it leaves nothing behind.

The cases are those of `support/cases.py`, and each contract is a test. What is a case's alone is in its own file.
"""

import logging
import math
import re
from contextlib import contextmanager
from itertools import count

import comfy.model_management
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from mcdm_pack.nodes.host.chain.node_ids import SETTING_NODES

from ..support.cases import CASES, PLAIN_PASSES, of_kind
from ..support.core_samplers import core_ksampler
from ..support.leaks import Living, state_of
from ..support.oracle.core_guiders import core_guider
from ..support.server.posts import posted, prompt_node, said_of

GUIDERS = ("MCDM_Guider", "MCDM_OwnNullGuider")
OF_CHAINS = of_kind(makes="experts")
OF_PRODUCTS = [name for name, case in CASES.items() if case.sampler_name]
OFF = [(name, what) for name, case in CASES.items() for what in case.off]


@pytest.fixture
def experts(load, chain):
    return lambda: chain((load("hair"), {"weight": 1.5}), (load("skin"), {"weight": 2.0}))


@pytest.fixture
def run(guide, node):
    """Sample two pictures in a case, or with what is given in its place."""

    def sample(name, experts=None, kind="MCDM_Guider", sampler="euler", guider=None, **more):
        case = CASES[name]
        guider = guider or case.guider(node, experts, kind)
        return guide(guider=guider, sampler=case.sampler(node, sampler), **{"batch": 2, **more})

    return sample


@pytest.fixture
def watched(passes, caplog):
    """What a function returns, beside how many rows it asks of the watched networks and what is logged of them."""

    def look(function):
        passes.found.clear()
        caplog.clear()
        with caplog.at_level(logging.INFO, "mcdm_pack"):
            result = function()
        logged = [line for line in caplog.messages if line.startswith("Fewer passes")]
        return result, (sum(call.rows for call in passes.found), logged)

    return look


# Off


@pytest.mark.one_of(20)
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun", "dpmpp_sde", "euler_cfg_pp"])
@pytest.mark.parametrize(
    ("name", "off"),
    [
        *((name, off) for name, off in OFF if CASES[name].makes != "sampler"),
        *((name, None) for name in of_kind(acts_alone=False)),
    ],
)
def test_off_is_cores_ksampler_to_the_bit(load, chain, node, sample, name, off, sampler):
    """And so is an expert alone, whether off or not, where a case is about several."""
    case, expert = CASES[name], load("linear")
    changed = case.off[off] if off else {}
    scores = {**case.inputs, **changed} if case.makes == "guider" else {}
    experts = case.chain(node, chain((expert, {"weight": 2.5})), **changed)
    assert torch.equal(
        sample(experts, None, sampler, steps=4, **scores), core_ksampler(expert.model, expert, 2.5, sampler)
    )


@pytest.mark.one_of(16)
@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
@pytest.mark.parametrize("kind", GUIDERS)
@pytest.mark.parametrize(("name", "off"), OFF)
def test_off_is_the_plain_product_to_the_bit_and_asks_no_more(
    load, chain, node, guide, passes, watched, name, off, kind, sampler
):
    case = CASES[name]
    changed = case.off[off]
    experts = chain(passes.watch(load("hair")), passes.watch(load("linear")))
    plain, (asked, _) = watched(lambda: guide(experts, sampler, kind=kind))
    given = {"guider": case.guider(node, experts, kind, **changed)}
    given["sampler"] = case.sampler(node, sampler, **changed)
    found, (asked_off, _) = watched(lambda: guide(**given))
    assert torch.equal(found, plain)
    assert asked_off == asked > 0


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", OF_CHAINS)
def test_on_it_has_a_say(experts, run, name):
    """Without which the other contracts would hold of nothing."""
    assert (run(name, experts()) - run("product", experts())).abs().max() > 1e-3


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].node_id in SETTING_NODES])
def test_what_was_said_last_along_the_chain_counts(load, chain, node, guide, name):
    case, hair, skin = CASES[name], load("hair"), load("skin")
    off = next(iter(case.off.values()))
    both, within = chain(hair, skin), chain(skin, onto=case.chain(node, chain(hair)))
    assert torch.equal(guide(within), guide(case.chain(node, both)))
    assert torch.equal(guide(case.chain(node, within, **off)), guide(both))


def test_all_settings_are_in_the_table():
    lacking = SETTING_NODES.keys() - {case.node_id for case in CASES.values()}
    assert not lacking, "a setting's node joins CASES in support/cases.py"


# Where a product is sampled otherwise


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", [*OF_CHAINS, *of_kind(makes="sampler")])
def test_a_product_as_a_model_does_the_same(load, chain, node, product, run, passes, watched, name):
    hair, skin = passes.watch(load("hair")), (passes.watch(load("skin")), {"weight": 2.0})
    guider = core_guider(hair, 1.5, product(hair, CASES[name].chain(node, chain(skin))))
    expected, asked = watched(lambda: run(name, chain((hair, {"weight": 1.5}), skin)))
    found, asked_as_a_model = watched(lambda: run(name, guider=guider))
    assert torch.equal(found, expected)
    assert asked_as_a_model == asked


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", OF_CHAINS)
def test_a_sweep_does_the_same(load, chain, node, sample, sweep, passes, watched, name):
    experts = CASES[name].chain(node, chain(passes.watch(load("hair")), passes.watch(load("skin"))))
    latent = {"samples": torch.zeros(1, 3, 32, 32)}
    expected, asked = watched(lambda: sample(experts, latent, steps=6))
    (swept, _), asked_by_cells = watched(lambda: sweep(experts, load("hair").vae, values="0.5", seeds=1, steps=6))
    torch.testing.assert_close(swept, expected, atol=1e-5, rtol=0)
    assert asked_by_cells == asked


@pytest.mark.one_of(7)
@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        *((name, sampler) for name in OF_CHAINS for sampler in ("euler", "heun")),
        *((name, "") for name in OF_PRODUCTS),
    ],
)
def test_inspect_samples_the_same_and_shows_it(load, experts, node, name, sampler):
    case, plain = CASES[name], experts()
    chained = case.chain(node, plain)
    given = {"noise": custom.Noise_RandomNoise(3), "sampler": case.sampler(node, sampler)}
    given |= {"sigmas": torch.tensor([20.0, 3.0, 1.0, 0.5, 0.0])}
    masked = {"samples": torch.full((3, 3, 32, 32), 0.25), "noise_mask": torch.eye(32)[None]}
    given |= {"latent_image": masked}
    expected, _ = custom.SamplerCustomAdvanced().sample(guider=node("MCDM_Guider", experts=chained)[0], **given)
    shown = {"vae": load("hair").vae, "steps_shown": "2"}
    latent, grid, plot = node("MCDM_Inspect", experts=chained, **shown, **given)
    assert torch.equal(latent["samples"], expected["samples"])
    given["sampler"] = CASES["product"].sampler(node)
    _, plain_grid, plain_plot = node("MCDM_Inspect", experts=plain, **shown, **given)
    assert plot.shape[1] / plain_plot.shape[1] == case.panels / 2
    assert grid.shape == plain_grid.shape


@pytest.mark.one_of(4)
@pytest.mark.parametrize("name", CASES)
def test_steps_are_reported_once_each(experts, run, every_step, name):
    seen = []
    run(name, experts(), sampler="heun", callback=lambda step, x0, x, total: seen.append((step, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]


@pytest.mark.one_of(4)
@pytest.mark.parametrize("name", CASES)
def test_a_noise_mask_keeps_the_rest_and_limits_what_counts(experts, run, host, monkeypatch, name):
    areas = []

    def watch(module, function):
        original = getattr(module, function)

        def seen(*args, area, **more):
            areas.append(area)
            return original(*args, area=area, **more)

        monkeypatch.setattr(module, function, seen)

    watch(host.samplers.logic, "sample_logic")
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1.0
    found = run(name, experts(), picture=0.25, denoise_mask=mask)
    torch.testing.assert_close(found[..., 16:, :], torch.full((2, 3, 16, 32), 0.25), atol=1e-5, rtol=0)
    assert (found[..., :16, :] - 0.25).abs().mean() > 0.1
    assert len(areas) == (name in OF_PRODUCTS)
    assert all(area[..., :16, :].min() == 1.0 and area[..., 16:, :].max() == 0.0 for area in areas)


# What is left behind


@pytest.mark.one_of(12)
@pytest.mark.parametrize("kind", GUIDERS)
@pytest.mark.parametrize("name", CASES)
def test_a_seed_gives_one_batch(load, chain, run, node, name, kind):
    weights = {"hair": 1.5, "skin": 2.0, "linear": -0.5}
    experts = chain(*((load(expert), {"weight": weight}) for expert, weight in weights.items()))
    guider = CASES[name].guider(node, experts, kind)
    first = run(name, guider=guider)
    assert first.isfinite().all()
    assert torch.equal(run(name, guider=guider), first)
    assert not torch.equal(run(name, guider=guider, seed=3), first)


@contextmanager
def cancelled(guider, number):
    """Let the user cancel before the guider predicts for the time of this number, counted from 0."""
    predict, calls = guider.predict_noise, count()

    def asked(*args, **more):
        if next(calls) == number:
            comfy.model_management.interrupt_current_processing()
        return predict(*args, **more)

    guider.predict_noise = asked
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            yield
    finally:
        del guider.predict_noise


@pytest.mark.one_of(24)
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("name", CASES)
def test_a_cancelled_run_leaves_nothing_behind(load, chain, node, run, guide, name, number):
    """In the guider, which samples the same afterwards, and in the MODELs, which do alone."""
    loaded = [load("hair"), load("skin")]

    def alone():
        return torch.cat([core_ksampler(expert.model, expert, 2.0) for expert in loaded])

    guider = CASES[name].guider(node, chain(*loaded))
    before, plain, apart = run(name, guider=guider), guide(guider=guider), alone()
    attributes, state = set(vars(guider)), state_of(*(expert.model for expert in loaded))
    with cancelled(guider, number):
        run(name, guider=guider)
    assert set(vars(guider)) == attributes
    assert all(expert.model.model.current_patcher is None for expert in loaded)
    assert torch.equal(alone(), apart)
    assert state_of(*(expert.model for expert in loaded)) == state
    assert torch.equal(run(name, guider=guider), before)
    assert torch.equal(guide(guider=guider), plain)  # without the case's sampler


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_50_runs_of_one_guider_are_the_same_and_leave_nothing(load, chain, run, node, passes, watched, name):
    guider = CASES[name].guider(node, chain(passes.watch(load("hair")), passes.watch(load("skin"))))

    def sampled():
        return watched(lambda: run(name, guider=guider, sigmas=(20.0, 1.0, 0.0)))

    (first, asked), attributes = sampled(), set(vars(guider))
    for i in range(50):
        again, asked_again = sampled()
        assert torch.equal(again, first)
        assert asked_again == asked
        if i == 9:
            before = Living.now()
    after = Living.now()
    assert (after.tensors, after.nbytes) == (before.tensors, before.nbytes)
    assert set(vars(guider)) == attributes


# What is refused


REFUSED = [(name, changed, said) for name, case in CASES.items() for changed, said in case.refused]


@pytest.mark.parametrize(("name", "changed", "said"), REFUSED)
def test_settings_are_refused_at_post_as_they_are_in_a_run(host, node, experts, name, changed, said):
    case = CASES[name]
    refusal = said_of(host, node, case.node_id, **case.posted(**changed))
    assert re.match(r"(\w+: )?Expected ", refusal)
    are_finite = all(not isinstance(value, float) or math.isfinite(value) for value in changed.values())
    assert (said if are_finite else "Expected a number for ") in refusal
    with pytest.raises(ValueError, match="Expected ") as error:
        _ = case.chain(node, experts(), **changed), case.sampler(node, **changed)
    assert said in str(error.value)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].makes != "guider"])
def test_settings_that_can_be_used_are_taken_at_post(host, node, name):
    case = CASES[name]
    for changed in ({}, *case.off.values()):
        assert said_of(host, node, case.node_id, **case.posted(**changed)) is True


@pytest.mark.parametrize("name", OF_PRODUCTS)
def test_samplers_of_products_refuse_another_guider(load, run, passes, name):
    with pytest.raises(ValueError, match=r"product of experts, .* got CFGGuider, .*; connect Product Guider"):
        run(name, guider=core_guider(passes.watch(load("hair")), 1.0))
    assert not passes.found


@pytest.mark.parametrize("name", OF_PRODUCTS)
def test_samplers_of_products_refuse_a_run_without_a_positive_weight(load, chain, run, passes, name):
    chained = chain(*((passes.watch(load(of)), {"weight": w}) for of, w in (("hair", -1.0), ("skin", -0.5))))
    with pytest.raises(ValueError, match=r"positive weight at every noise level, .* expert 1.*; raise the weight"):
        run(name, chained)
    assert not passes.found


RUN = {
    "run": prompt_node(
        "SamplerCustomAdvanced", sampler=["sampler", 0], guider=["guider", 0], latent_image=["latent", 0]
    )
}
OURS = {**RUN, "guider": prompt_node("MCDM_Guider", experts=["experts", 0])}
LORA = {"lora": prompt_node("LoraLoaderModelOnly", model=["load", 0])}
MADE = {"made": prompt_node("MCDM_ProductModel", model=["load", 0], reliability=1.0, experts=["experts", 0])}


USES = {
    "core's guider": ({**RUN, "guider": prompt_node("CFGGuider", model=["load", 0])}, "got CFGGuider, which"),
    "core's guider of a LoRA": (
        {**RUN, **LORA, "guider": prompt_node("BasicGuider", model=["lora", 0])},
        "got BasicGuider, which",
    ),
    "core's guider of a product": ({**RUN, **MADE, "guider": prompt_node("CFGGuider", model=["made", 0])}, True),
    "the product's guider": (OURS, True),
    "a node without a guider": (
        {"run": prompt_node("SamplerCustom", sampler=["sampler", 0], model=["load", 0])},
        "got SamplerCustom, which",
    ),
    "fewer passes": ({**OURS, "experts": prompt_node("MCDM_Passes", experts=["chain", 0], **PLAIN_PASSES)}, True),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", OF_PRODUCTS)
def test_what_takes_samplers_of_products_is_checked_at_post(host, node, name, use):
    nodes, said = USES[use]
    answer = sampler_said(host, node, name, **nodes)
    assert answer is True if said is True else said in answer


@pytest.mark.parametrize("name", OF_PRODUCTS)
def test_experts_in_turns_are_refused_at_post_by_what_chooses_between_them(host, node, name):
    turns = prompt_node("MCDM_Passes", experts=["chain", 0], **{**PLAIN_PASSES, "switch": 1})
    answer = sampler_said(host, node, name, **OURS, experts=turns, chain=prompt_node("MCDM_Expert"))
    assert answer.endswith("got experts that take turns; set `switch` of Fewer Passes to 0, or use another sampler.")


def sampler_said(host, node, name, **nodes):
    case = CASES[name]
    prompt = {
        "sampler": prompt_node(case.node_id, **case.inputs),
        "load": prompt_node("CheckpointLoaderSimple", ckpt_name="a"),
    }
    return posted(host, node, {**prompt, **nodes}, "sampler")

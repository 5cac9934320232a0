"""Logic Sampler: what it does beside plain loops, and what it refuses."""

from functools import partial

import comfy.samplers
import pytest
import torch

from ...support.logic import PlainLogic, sample_plain_logic
from ..support.methods import PLAIN_PASSES, USUAL_LOGIC
from ..support.server.posts import EXPERT, posted, prompt_node

SIGMAS = (20.0, 8.0, 3.0, 1.0, 0.5, 0.2, 0.0)


@pytest.fixture
def experts(load, chain):
    """Two, and a third to exclude where its weight is below 0."""

    def build(*weights):
        names = ("hair", "skin", "linear")[: len(weights)]
        return chain(*((load(name), {"weight": w}) for name, w in zip(names, weights, strict=True)))

    return build


@pytest.fixture
def run(guide):
    """Sample four pictures of a chain, or with a guider."""
    return partial(guide, batch=4, sigmas=SIGMAS)


@pytest.fixture
def logic(node):
    return lambda **settings: node("MCDM_Logic", **{**USUAL_LOGIC, **settings})[0]


def logic_loop(weights, own_null, **settings):
    """Ancestral sampling of a logic in plain loops, from the predictions that the product shows."""
    given, count = {**USUAL_LOGIC, **settings}, len(weights)
    priors = [1.0 if w > 0 else given["prior"] for w in weights]
    logic = PlainLogic(given["operation"], given["sharpness"], priors, given["largest"], weights)

    def sample(model, x, sigmas, extra_args, callback, disable):
        seen = []
        model.inner_model.product.observers.append(seen.append)

        def asked(x, sigma):
            model(x, x.new_full((len(x),), sigma), **extra_args)
            nulls = [seen[-1].null[seen[-1].plan.null_owners[j]].double() for j in range(count)]
            bases = nulls if own_null else [sum(nulls) / count] * count
            return [
                base + abs(w) * (seen[-1].cond[k].double() - base)
                for k, (w, base) in enumerate(zip(weights, bases, strict=True))
            ]

        generator = torch.Generator().manual_seed(extra_args["seed"] + 1)
        return sample_plain_logic(x, sigmas.tolist(), asked, logic, generator, lambda combined: combined.clamp(-1, 1))

    return sample


RUNS = [
    ((1.5, 2.0), {}, "MCDM_Guider"),
    ((1.5, 2.0), {"operation": "or"}, "MCDM_Guider"),
    ((1.5, 2.0), {"operation": "or", "sharpness": 0.3}, "MCDM_OwnNullGuider"),
    ((1.5, 2.0, -0.5), {}, "MCDM_Guider"),
    ((1.5, -0.5), {}, "MCDM_OwnNullGuider"),
]


@pytest.mark.one_of(5)
@pytest.mark.parametrize(("weights", "settings", "kind"), RUNS, ids=str)
def test_beside_plain_loops(experts, run, logic, weights, settings, kind):
    loop = comfy.samplers.KSAMPLER(logic_loop(weights, kind == "MCDM_OwnNullGuider", **settings))
    found, expected = (run(experts(*weights), sampler, kind=kind) for sampler in (logic(**settings), loop))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    plain = run(experts(*weights), logic(operation="or", sharpness=100.0, largest=0.0), kind=kind)
    assert (found - plain).abs().max() > 0.02


def test_windows_and_fewer_passes(load, chain, run, logic, node, passes):
    """Nulls of one step in three stand in for those of the others, and an expert is asked in its window alone."""
    hair, skin = (passes.watch(load(name)) for name in ("hair", "skin"))
    late = chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0, "start": 0.4}))
    whole = chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0}))
    (fewer,) = node("MCDM_Passes", experts=whole, **{**PLAIN_PASSES, "threshold": -1.0, "refresh": 3})
    found, rows = [], []
    for chained in (whole, late, fewer):
        passes.found.clear()
        found.append(run(chained, logic(), batch=1))
        rows.append(sum(call.rows for call in passes.found))
    assert rows == [6 * 4, 3 * 2 + 3 * 4, 2 * 4 + 4 * 2]
    assert all(each.isfinite().all() for each in found)
    assert (found[0] - found[1]).abs().max() > 0.001
    assert 0.001 < (found[0] - found[2]).abs().mean() < 0.1


def test_a_run_without_a_positive_weight_is_refused_before_any_pass(load, chain, run, logic, passes):
    chained = chain(*((passes.watch(load(name)), {"weight": w}) for name, w in (("hair", -1.0), ("skin", -0.5))))
    with pytest.raises(ValueError, match=r"positive weight at every noise level, .* expert 1.*; raise the weight"):
        run(chained, logic(), batch=2)
    assert not passes.found


@pytest.mark.parametrize(("weight", "refused"), [(-0.5, True), (0.5, False)])
def test_that_a_weight_is_positive_is_checked_at_post(host, node, weight, refused):
    sampler = prompt_node("MCDM_Logic", **USUAL_LOGIC)
    prompt = {"sampler": sampler, "load": prompt_node("CheckpointLoaderSimple", ckpt_name="a")}
    prompt["run"] = prompt_node("SamplerCustomAdvanced", sampler=["sampler", 0], guider=["guider", 0])
    prompt["guider"] = prompt_node("MCDM_Guider", experts=["second", 0])
    prompt["second"] = prompt_node("MCDM_Expert", **{**EXPERT, "weight": weight, "experts": ["first", 0]})
    prompt["first"] = prompt_node("MCDM_Expert", **{**EXPERT, "weight": -1.0})
    answer = posted(host, node, prompt, "sampler")
    assert ("none among expert 1, expert 2; raise" in answer) if refused else answer is True

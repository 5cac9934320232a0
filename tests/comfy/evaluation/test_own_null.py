"""The own-null rule on MODELs: composable diffusion, what it shares with CFG, and which terms it takes."""

from functools import partial

import pytest
import torch

from ..support.attachments import alone, null_of, unclamped
from ..support.oracle.core_guiders import core_guider
from ..support.server.posts import said_of_chain

SIGMAS = (20.0, 3.0, 0.5, 0.0)


@pytest.fixture
def guide(guide):
    """Sample two pictures with a guider, by default that of a chain."""
    return partial(guide, kind="MCDM_OwnNullGuider", batch=2, sigmas=SIGMAS)


@pytest.fixture
def once(guide):
    """The prediction of a chain at one level: one Euler step to 0 returns it."""
    return partial(guide, sigmas=(3.0, 0.0))


def another_condition(node, expert):
    condition, _ = node(
        "MCDM_EncodeMap", encoder=expert.encoder, map="hair", with_text=False, mask=torch.ones(1, 32, 32)
    )
    return condition


@pytest.mark.one_of(3)
@pytest.mark.parametrize("cfg", [1.0, 2.5, -1.0])
@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m_sde", "euler_cfg_pp"])
def test_one_expert_is_cfg_bit_for_bit(load, chain, guide, sampler_name, cfg):
    hair = load("hair")
    ours = guide(chain((hair, {"weight": cfg})), sampler_name)
    assert torch.equal(ours, guide(guider=core_guider(hair, cfg), sampler=sampler_name))


def test_every_expert_is_guided_away_from_its_own_null(load, chain, once, node):
    hair, skin = unclamped(load("hair")), unclamped(load("skin"))
    settings = [(hair, {"weight": 1.5, "reliability": 1.0}), (skin, {"weight": -0.7, "reliability": 3.0})]
    c = [once(chain(alone(expert))) for expert in (hair, skin)]
    u = [once(chain(null_of(expert))) for expert in (hair, skin)]
    expected = 0.25 * u[0] + 0.75 * u[1] + 1.5 * (c[0] - u[0]) - 0.7 * (c[1] - u[1])
    torch.testing.assert_close(once(chain(*settings)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(once(chain(*settings[::-1])), expected, atol=1e-5, rtol=0)


def test_guidance_hooks_see_the_rule(load, chain, once):
    hair, skin, seen = unclamped(load("hair")), unclamped(load("skin")), []
    nulls = [once(chain(null_of(expert))) for expert in (hair, skin)]
    hair.model.set_model_sampler_post_cfg_function(lambda args: seen.append(args) or args["denoised"])
    product = once(chain((hair, {"weight": 1.5, "reliability": 1.0}), (skin, {"weight": 2.5, "reliability": 3.0})))
    (args,) = seen
    cond, uncond, scale = args["cond_denoised"].cpu(), args["uncond_denoised"].cpu(), args["cond_scale"]
    assert scale == 4.0
    torch.testing.assert_close(uncond, 0.25 * nulls[0] + 0.75 * nulls[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(uncond + scale * (cond - uncond), product, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ([{"weight": 2.0}, {"weight": 2.0}], 4),
        ([{"weight": 2.0}, {"weight": 2.0, "reliability": 0.0}], 4),  # where Eq. 10 takes 3
        ([{"weight": 2.0}, {"weight": 0.0, "reliability": 0.0, "null": None}], 2),
        ([{"weight": 2.0}, {"weight": 0.0, "condition": None}], 3),
        ([{"weight": 0.5}, {"weight": 0.5}], 2),  # both nulls cancel
        ([{"weight": 0.7}, {"weight": 0.3}], 4),  # W = 1 as well, but they don't
        ([{"weight": 2.0}, {"weight": 0.5, "null": None}], 3),  # the second's cancels
        ([{"weight": 0.75, "reliability": 3.0, "null": None}, {"weight": 0.25, "null": None}], 2),
    ],
)
def test_only_needed_terms_are_evaluated(load, chain, once, passes, settings, rows):
    experts = [passes.watch(load(name)) for name in ("hair", "skin")]
    once(chain(*zip(experts, settings, strict=True)))
    assert sum(call.rows for call in passes.found) == 2 * rows  # two pictures


@pytest.mark.parametrize(
    ("weights", "reliabilities", "terms"),
    [
        ((0.7, 0.3), (1.0, 1.0), 2),  # its coefficient is 1 − W
        ((3.0, -2.0), (1.0, 0.0), 2),
        ((0.5, 0.5), (1.0, 1.0), 2),
        ((0.5, 0.7), (1.0, 1.0), 3),  # the first's cancels, not the second's
        ((0.7, 0.4), (1.0, 1.0), 3),
    ],
)
def test_a_shared_null_is_evaluated_unless_it_cancels(load, chain, once, passes, node, weights, reliabilities, terms):
    hair = passes.watch(unclamped(load("hair")))
    conditions = [hair.condition, another_condition(node, hair)]
    c = [once(chain((hair, {"condition": condition, "weight": 1.0}))) for condition in conditions]
    null = once(chain(null_of(hair)))
    passes.found.clear()
    settings = zip(conditions, weights, reliabilities, strict=True)
    product = once(chain(*((hair, {"condition": x, "weight": w, "reliability": a}) for x, w, a in settings)))
    assert sum(call.rows for call in passes.found) == 2 * terms  # two pictures
    expected = null + sum(w * (prediction - null) for w, prediction in zip(weights, c, strict=True))
    torch.testing.assert_close(product, expected, atol=1e-5, rtol=0)


def test_cfg_plus_plus_gets_its_null_where_nulls_cancel(load, chain, guide, passes):
    experts = [passes.watch(load(name)) for name in ("hair", "skin")]
    guide(chain(*((expert, {"weight": 0.5}) for expert in experts)), sampler="euler_cfg_pp", sigmas=SIGMAS[-2:])
    assert [call.rows for call in passes.found] == [4, 4]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ([{}, {"null": None}], r"Expert 2 .*needs a negative.*weight is 1.5"),
        ([{}, {"null": None, "reliability": 0.0}], r"Expert 2 .*needs a negative.*reliability 0"),
        ([{"reliability": 0.0}, {"reliability": 0.0}], "reliabilities with a positive sum"),
    ],
)
def test_chains_that_cannot_be_combined(load, chain, guide, passes, settings, match):
    experts = [passes.watch(load(name)) for name in ("hair", "skin")]
    with pytest.raises(ValueError, match=match):
        guide(chain(*zip(experts, settings, strict=True)))
    assert not passes.found


@pytest.mark.parametrize(
    ("experts", "answer"),
    [
        ([{"null": None}, {}], "Expert 1 needs a negative, because its weight is"),
        ([{"reliability": 0.0}, {"reliability": 0.0}], "positive sum"),
        ([{"weight": 0.75, "reliability": 3.0, "null": None}, {"weight": 0.25, "null": None}], None),
        ([{}, {}], None),
        ([{"null": None, "start": 0.5}, {}], "Expert 1 needs a negative, because its weight is"),
        ([{}, {"weight": 0.5, "null": None}], None),
    ],
)
def test_what_can_be_known_is_said_when_the_workflow_is_queued(host, core, experts, answer):
    found = said_of_chain(host, [("MCDM_Expert", inputs) for inputs in experts], core.product.rules.own_null.OWN_NULL)
    assert found is None if answer is None else answer in found

"""The own-null rule on MODELs: composable diffusion, what it shares with CFG, and which terms it takes."""

from functools import partial

import pytest
import torch

from ..support.attachments import null_of, unclamped
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


@pytest.mark.one_of(3)
@pytest.mark.parametrize("cfg", [1.0, 2.5, -1.0])
@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m_sde", "euler_cfg_pp"])
def test_one_expert_is_cfg_bit_for_bit(load, chain, guide, sampler_name, cfg):
    hair = load("hair")
    ours = guide(chain((hair, {"weight": cfg})), sampler_name)
    assert torch.equal(ours, guide(guider=core_guider(hair, cfg), sampler=sampler_name))


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


def test_cfg_plus_plus_gets_its_null_where_nulls_cancel(load, chain, guide, passes):
    experts = [passes.watch(load(name)) for name in ("hair", "skin")]
    guide(chain(*((expert, {"weight": 0.5}) for expert in experts)), sampler="euler_cfg_pp", sigmas=SIGMAS[-2:])
    assert [call.rows for call in passes.found] == [4, 4]


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

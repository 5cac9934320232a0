"""Latent diffusion checkpoints as experts: small random networks of the layouts of SD 1.5 and SD 2."""

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def checkpoint(pack):
    """Make a MODEL with a positive and a negative prompt."""
    from ..support.oracle.networks import CONTEXT, network

    def make(seed: int, layout: str = "eps") -> SimpleNamespace:
        model = network(layout, seed)
        torch.manual_seed(seed)
        positive, negative = ([[torch.randn(1, 7, CONTEXT), {}]] for _ in range(2))
        return SimpleNamespace(model=model, condition=positive, null=negative)

    return make


def latent():
    return {"samples": torch.zeros(2, 4, 16, 16)}


@pytest.mark.one_of(3)
@pytest.mark.parametrize("layout", ["eps", "v"])
@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m_sde", "heun", "uni_pc"])
def test_one_checkpoint_equals_core_ksampler(checkpoint, chain, sample, layout, sampler_name):
    import nodes

    expert = checkpoint(1, layout)
    ours = sample(chain((expert, {"weight": 7.0})), latent(), sampler_name)
    settings = (5, 3, 7.0, sampler_name, "normal", expert.condition, expert.null, latent())
    assert torch.equal(ours, nodes.common_ksampler(expert.model, *settings)[0]["samples"])


def test_several_prompts_on_one_checkpoint(checkpoint, chain, sample):
    """Two equal prompts at half the weight are one."""
    expert = checkpoint(1)
    two = sample(chain((expert, {"weight": 3.5}), (expert, {"weight": 3.5})), latent())
    torch.testing.assert_close(two, sample(chain((expert, {"weight": 7.0})), latent()), atol=1e-3, rtol=1e-4)


def test_patches_see_conditions_as_0_and_nulls_as_1(checkpoint, chain, sample):
    expert, seen = checkpoint(1), set()
    expert.model = expert.model.clone()

    def patch(q, k, v, extra_options):
        seen.add(tuple(sorted(extra_options["cond_or_uncond"])))
        return q, k, v

    expert.model.set_model_attn2_patch(patch)
    other = SimpleNamespace(model=expert.model, condition=[[torch.randn(1, 7, 16), {}]], null=expert.null)
    sample(chain((expert, {"weight": 3.0}), (other, {"weight": 2.0})), latent())
    assert seen == {(0, 0, 1)}


def test_each_checkpoint_keeps_its_own_patches(checkpoint, chain, sample):
    first, second, seen = checkpoint(1), checkpoint(2), []
    for expert, name in ((first, "first"), (second, "second")):
        expert.model = expert.model.clone()

        def patch(h, options, name=name):
            seen.append((name, tuple(options["sample_sigmas"].shape)))
            return h

        expert.model.set_model_input_block_patch(patch)
    sample(chain(first, second), latent(), steps=3)
    assert set(seen) == {("first", (4,)), ("second", (4,))}


def test_areas_and_timestep_ranges_of_a_conditioning(checkpoint, chain, sample):
    import nodes

    expert = checkpoint(1)
    (area,) = nodes.ConditioningSetArea().append(expert.condition, 64, 64, 32, 32, 1.0)
    (late,) = nodes.ConditioningSetTimestepRange().set_range(expert.null, 0.3, 1.0)
    expert.condition = nodes.ConditioningCombine().combine(area, late)[0]
    ours = sample(chain((expert, {"weight": 5.0})), latent())
    settings = (5, 3, 5.0, "euler", "normal", expert.condition, expert.null, latent())
    assert torch.equal(ours, nodes.common_ksampler(expert.model, *settings)[0]["samples"])


def test_an_expert_that_only_lends_its_null(checkpoint, chain, sample):
    first, second = checkpoint(1), checkpoint(2)
    lender = (second, {"weight": 0.0, "condition": None, "reliability": 1.0})
    borrowed = sample(chain((first, {"weight": 4.0, "reliability": 0.0, "null": None}), lender), latent(), steps=1)
    assert borrowed.isfinite().all()
    assert not torch.equal(borrowed, sample(chain((first, {"weight": 4.0})), latent(), steps=1))

"""Noise levels: windows, and experts with schedules of their own."""

import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch

from ..support.attachments import alone

SIGMAS = torch.tensor([20.0, 3.0, 0.5, 0.0])


@pytest.fixture
def ask():
    """A sampler that asks for x0 at given levels and returns the last answer."""

    def sampler(*levels):
        def function(model, x, sigmas, extra_args, callback, disable):
            for level in levels:
                denoised = model(x, x.new_full((len(x),), level), **extra_args)
            return denoised

        return comfy.samplers.KSAMPLER(function)

    return sampler


@pytest.mark.parametrize("level", [0.0, 25.0], ids=["end", "above the first level"])
def test_samplers_may_ask_at_the_end_and_above_the_first_level(load, chain, guide, passes, ask, level):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    sampling = hair.model.get_model_object("model_sampling")
    levels = (sampling.percent_to_sigma(0.5), 1.0, 0.0)
    experts = chain((hair, {"end": 0.5}), (skin, {"start": 0.5}))
    assert guide(experts, ask(level), sigmas=levels).isfinite().all()
    assert {tuple(call.expert.encoder.names) for call in passes.found} == {("skin",)}


def test_noise_can_be_added_as_well(load, chain, node):
    """FlipSigmas turns the sampling round; the windows stay where they are."""
    (sigmas,) = custom.FlipSigmas().get_sigmas(SIGMAS.clone())
    gap = chain((load("hair"), {"end": 0.3}), (load("skin"), {"start": 0.6}))
    whole = chain((load("hair"), {"end": 0.6}), (load("skin"), {"start": 0.3}))
    picture = torch.full((1, 3, 32, 32), 0.3)
    euler = comfy.samplers.sampler_object("euler")
    with pytest.raises(ValueError, match="active expert at every noise level"):
        node("MCDM_Guider", experts=gap)[0].sample(torch.zeros_like(picture), picture, euler, sigmas)
    noised = node("MCDM_Guider", experts=whole)[0].sample(torch.zeros_like(picture), picture, euler, sigmas)
    assert noised.std() > 5.0


def test_a_null_that_a_sampler_will_want_is_refused_before_the_first_call(load, chain, sample, passes):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    experts = chain(alone(hair, end=0.5), alone(skin, start=0.5, null=None))
    sample(experts, steps=4)
    passes.found.clear()
    with pytest.raises(ValueError, match=r"Expert 2 \(small skin\) needs a negative.* or choose another sampler\."):
        sample(experts, sampler_name="euler_cfg_pp", steps=4)
    with pytest.raises(ValueError, match=r"positive sum .* whatever the weights sum to"):
        sample(chain(alone(hair, reliability=0.0)), sampler_name="euler_cfg_pp", steps=4)
    assert not passes.found

"""Guiders over the product as a MODEL: led by cfg they act, and where the product could not do what it says it refuses.

A guider may have a `predict_noise` of its own, as long as the product answers where it asks its parent.
"""

import comfy.samplers
import pytest
import torch

from ..support.core_samplers import core_ksampler, custom_sampler


@pytest.mark.parametrize("place", ["first", "second", "given", "other"])
def test_products_of_products_are_refused(load, chain, sample, product, passes, place):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    nested = {"model": product(hair, chain(skin))}
    runs = {
        "first": lambda: sample(chain((hair, nested), skin)),
        "second": lambda: sample(chain(skin, (hair, nested))),
        "given": lambda: core_ksampler(product(type(hair)(**vars(hair) | nested), chain(skin)), hair, 2.0),
        "other": lambda: core_ksampler(product(skin, chain((hair, nested))), skin, 2.0),
    }
    with pytest.raises(ValueError, match=r"Product as Model.*chain that product's experts instead"):
        runs[place]()
    assert not passes.found


@pytest.mark.parametrize("way", ["class", "object"])
@pytest.mark.parametrize(
    "method", ["outer_sample", "inner_sample", "__call__", "outer_predict_noise", "predict_noise", "set_cfg"]
)
def test_guiders_are_refused_for_what_the_product_would_leave_out(load, chain, product, passes, method, way):
    def own(self, *args, **kwargs):
        return getattr(comfy.samplers.CFGGuider, method)(self, *args, **kwargs)

    hair = passes.watch(load("hair"))
    kind = type("OwnGuider", (comfy.samplers.CFGGuider,), {method: own} if way == "class" else {})
    guider = kind(product(hair, chain(load("skin"))))
    if way == "object":
        setattr(guider, method, own.__get__(guider))
    guider.set_conds(hair.condition, hair.null)
    guider.set_cfg(2.0)
    if method == "set_cfg":  # which comes before the product
        assert custom_sampler(guider).isfinite().all()
    else:
        with pytest.raises(ValueError, match="OwnGuider"):
            custom_sampler(guider)
        assert not passes.found


def scheduled_guider(model, expert, cfgs):
    """As other packs make it: cfg is set for every noise level, and CFGGuider does the rest."""

    class ScheduledGuider(comfy.samplers.CFGGuider):
        def predict_noise(self, x, timestep, model_options=None, seed=None):
            self.levels_met.append(float(timestep[0]))
            self.cfg = cfgs[self.levels_met[-1]]
            return super().predict_noise(x, timestep, model_options, seed)

    guider = ScheduledGuider(model)
    guider.levels_met = []
    guider.set_conds(expert.condition, expert.null)
    return guider


def test_a_guider_that_only_sets_cfg_sets_the_first_experts(load, chain, product):
    """The sum rule: beside a copy of weight 2, a schedule is core's schedule of the one model, 2 higher."""
    hair, copy = load("hair"), load("hair")
    cfgs = {20.0: 3.0, 3.0: 1.5, 0.5: 0.5}
    ours = scheduled_guider(product(hair, chain((copy, {"weight": 2.0}))), hair, cfgs)
    theirs = scheduled_guider(hair.model, hair, {level: cfg + 2.0 for level, cfg in cfgs.items()})
    found, expected = custom_sampler(ours), custom_sampler(theirs)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert ours.levels_met == theirs.levels_met == list(cfgs)
    assert ours.cfg == 0.5
    plain = scheduled_guider(hair.model, hair, dict.fromkeys(cfgs, 5.0))
    assert not torch.allclose(expected, custom_sampler(plain), atol=1e-2)


def test_a_guider_may_change_what_its_parent_answers(load, chain, product):
    """As a wrapper of PREDICT_NOISE does."""

    class HalvingGuider(comfy.samplers.CFGGuider):
        def predict_noise(self, *args, **kwargs):
            return super().predict_noise(*args, **kwargs) / 2

    hair, copy = load("hair"), load("hair")
    samples = []
    for model, cfg in ((product(hair, chain((copy, {"weight": 2.0}))), 3.0), (hair.model, 5.0)):
        guider = HalvingGuider(model)
        guider.set_conds(hair.condition, hair.null)
        guider.set_cfg(cfg)
        samples.append(custom_sampler(guider))
    torch.testing.assert_close(*samples, atol=1e-4, rtol=0)


@pytest.mark.parametrize("way", ["reads conds", "sets conds", "asks the network"])
def test_guiders_that_ask_one_experts_network_beside_their_parent_are_refused(load, chain, product, passes, way):
    class MixedGuider(comfy.samplers.CFGGuider):
        def predict_noise(self, x, timestep, model_options=None, seed=None):
            if way == "reads conds":
                self.conds["positive"] = self.conds["negative"]
            elif way == "sets conds":
                self.conds = {}
            else:
                comfy.samplers.calc_cond_batch(self.inner_model, [None, None], x, timestep, model_options)
            return super().predict_noise(x, timestep, model_options, seed)

    hair = passes.watch(load("hair"))
    guider = MixedGuider(product(hair, chain(load("skin"))))
    guider.set_conds(hair.condition, hair.null)
    with pytest.raises(ValueError, match="MixedGuider, which would not see the other experts"):
        custom_sampler(guider)
    assert not passes.found


def test_the_refusal_of_a_sampler_node_with_a_guider_of_its_own_says_how_it_takes_the_product(load, chain, product):
    """ClownsharKSampler makes this guider of the MODEL it is given, and takes another in its options."""

    class SharkGuider(comfy.samplers.CFGGuider):
        def predict_noise(self, x, timestep, model_options=None, seed=None):
            conds = self.conds["negative"], self.conds["positive"]
            return comfy.samplers.sampling_function(self.inner_model, x, timestep, *conds, self.cfg, model_options)

    hair = load("hair")
    guider = SharkGuider(product(hair, chain(load("skin"))))
    guider.set_conds(hair.condition, hair.null)
    with pytest.raises(ValueError, match="use one of those, or Product Guider with SharkOptions GuiderInput"):
        custom_sampler(guider)

"""Newer ComfyUI hands `latent_shapes`, and may hand more, through methods that this pack overrides: all arrives."""

import inspect
from functools import partial

import comfy.sampler_helpers
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP

import nodes

MORE = {"latent_shapes": [(1, 3, 32, 32)], "unknown": 1}


@pytest.fixture
def newer(monkeypatch):
    """Let methods of CFGGuider take what newer ones take; returns what each was given, in the order of the calls."""
    core, seen = comfy.samplers.CFGGuider, []

    def take(name):
        older = getattr(core, name)
        known = inspect.signature(older).parameters

        def method(self, *args, **given):
            seen.append((type(self).__name__, name, {key: given[key] for key in MORE if key in given}))
            return older(self, *args, **{key: given[key] for key in given if key in known or key not in MORE})

        monkeypatch.setattr(core, name, method)

    for name in ("sample", "outer_sample", "inner_sample"):
        take(name)
    return seen


def handing_on(executor, *args, **given):
    """A wrapper that hands on more than it was given."""
    return executor(*args, **{**given, **MORE})


@pytest.fixture
def experts(load):
    """Two experts, the first with a MODEL of its own to wrap."""
    found = [load("hair"), load("skin")]
    found[0].model = found[0].model.clone()
    return found


def test_sample(chain, experts, guide, newer):
    guide(chain(*experts), unknown=1)
    assert ("ProductGuider", "sample", {"unknown": 1}) in newer


def test_outer_sample(chain, experts, guide, newer):
    experts[0].model.add_wrapper(WrappersMP.OUTER_SAMPLE, handing_on)
    guide(chain(*experts))
    assert ("ProductGuider", "outer_sample", MORE) in newer


def test_outer_sample_of_product_as_model(node, chain, experts, newer):
    experts[0].model.add_wrapper(WrappersMP.OUTER_SAMPLE, handing_on)
    (model,) = node("MCDM_ProductModel", model=experts[0].model, reliability=1.0, experts=chain(experts[1]))
    latent = {"samples": torch.zeros(1, 3, 32, 32)}
    nodes.common_ksampler(model, 5, 2, 2.0, "euler", "normal", experts[0].condition, experts[0].null, latent)
    assert ("_HostedGuider", "outer_sample", MORE) in newer


def test_inner_sample_and_the_conditions_of_every_expert(chain, experts, node, guide, newer, monkeypatch):
    process, processed = comfy.samplers.process_conds, []
    known = inspect.signature(process).parameters

    def newer_process_conds(*args, **given):
        processed.append(given.get("latent_shapes"))
        return process(*args, **{key: given[key] for key in given if key in known or key not in MORE})

    monkeypatch.setattr(comfy.samplers, "process_conds", newer_process_conds)
    (guider,) = node("MCDM_Guider", experts=chain(*experts))
    guider.inner_sample = partial(guider.inner_sample, **MORE)
    guide(guider=guider)
    assert ("ProductGuider", "inner_sample", MORE) in newer
    # For the second expert, and for the first where ComfyUI's own call is the newer one.
    assert processed.count(MORE["latent_shapes"]) == 1 + ("latent_shapes" in known)


def test_predict_noise(chain, experts, guide):
    before = guide(chain(*experts))
    experts[0].model.add_wrapper(WrappersMP.PREDICT_NOISE, handing_on)
    assert guide(chain(*experts)).equal(before)


def test_loading(chain, experts, guide, monkeypatch):
    load, seen = comfy.sampler_helpers._prepare_sampling, []

    def newer_prepare_sampling(*args, unknown=None, latent_shapes=None, **given):
        seen.append((unknown, latent_shapes))
        return load(*args, **given)

    monkeypatch.setattr(comfy.sampler_helpers, "_prepare_sampling", newer_prepare_sampling)
    for expert in experts:
        expert.model.add_wrapper(WrappersMP.PREPARE_SAMPLING, handing_on)
    guide(chain(*experts))
    assert seen == [(1, MORE["latent_shapes"])]  # one call, for all experts

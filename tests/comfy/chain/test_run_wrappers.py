"""What nodes put around a run, on any expert: core's EasyCache skips the steps that it skips in core alone."""

import logging
import re
from dataclasses import replace
from functools import partial

import comfy_extras.nodes_easycache as nodes
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from ..support.clones import lora_on
from ..support.closeness import assert_close
from ..support.leaks import assert_no_tensor_stays
from ..support.oracle.core_guiders import core_guider
from ..support.small_runs import sampled_by_core

STEPS = 8


@pytest.fixture(scope="module")
def easycache_fails(bare):
    """Whether core's EasyCache fails in core alone, on a condition and a null in one batch."""
    try:
        sampled_by_core([with_cache(bare(0), "EasyCache", 1.0)], STEPS)
    except RuntimeError:
        return True
    return False


def with_cache(expert, cache, threshold):
    settings = {"reuse_threshold": threshold, "start_percent": 0.1, "end_percent": 0.95, "verbose": False}
    return replace(expert, model=getattr(nodes, f"{cache}Node").execute(expert.model, **settings).args[0])


@pytest.fixture
def cached(easycache_fails):
    """An expert with one of core's caches."""

    def attach(expert, cache="EasyCache", threshold=1.0):
        if cache == "EasyCache" and easycache_fails:
            pytest.skip("this ComfyUI's EasyCache fails by itself on condition and null in one batch")
        return with_cache(expert, cache, threshold)

    return attach


@pytest.fixture
def product_of(product_of):
    """Sample a chain with Product Guider."""
    return partial(product_of, steps=STEPS)


@pytest.fixture
def by_core(by_core):
    """Sample by core's own guiders."""
    return partial(by_core, steps=STEPS)


@pytest.fixture
def skipped(caplog):
    """Run something, and tell the steps that each cache says it skipped."""

    def run(function):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            result = function()
        return result, sorted(map(int, re.findall(r"Cache - skipped (\d+)/", caplog.text)))

    return run


@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache"])
def test_one_expert_is_cores_guider(bare, cached, product_of, skipped, sampled, cache):
    expert = cached(bare(0), cache)
    theirs = skipped(lambda: sampled(core_guider(expert), steps=STEPS))
    ours = skipped(lambda: product_of([expert]))
    assert torch.equal(ours[0], theirs[0])
    assert ours[1] == theirs[1] != [0]


@pytest.mark.one_of(4)
@pytest.mark.parametrize("places", [(0,), (1,), (0, 1), (0, 1, 2)], ids=str)
def test_easycache_skips_what_it_skips_in_core(bare, cached, product_of, by_core, skipped, places):
    experts = [bare(place) for place in range(3)]
    experts = [cached(expert, threshold=0.5 + i) if i in places else expert for i, expert in enumerate(experts)]
    (ours, found), (theirs, expected) = skipped(lambda: product_of(experts)), skipped(lambda: by_core(experts))
    assert_close(ours, theirs)
    assert found == expected
    assert len(found) == len(places)
    assert 0 not in found


@pytest.mark.one_of(2)
@pytest.mark.parametrize("attached", ["to each", "before the LoRA"])
def test_easycache_on_a_clone_with_a_lora(bare, cached, product_of, by_core, skipped, attached):
    """The second MODEL's own cache decides for it, also where both were made of one MODEL with a cache."""

    def make(networks):
        first, second = cached(networks[0]), replace(bare(1), model=cached(networks[1], threshold=1.5).model)
        if attached == "before the LoRA":
            second = replace(second, model=(first if networks[0] is networks[1] else cached(networks[1])).model)
        return [first, replace(second, model=lora_on(second.model, 8, 0.5))]

    shared = bare(0)
    (ours, found), (theirs, expected) = (
        skipped(lambda: product_of(make([shared, shared]))),
        skipped(lambda: by_core(make([bare(0), bare(0)]))),
    )
    assert_close(ours, theirs)
    assert found == expected
    assert 0 not in found


def test_easycache_matters(bare, cached, by_core):
    experts = [bare(0), bare(1)]
    with_cache = by_core([experts[0], cached(experts[1])])
    assert (with_cache - by_core(experts)).abs().max() > 1e-2 * with_cache.std()


@pytest.mark.long
def test_runs_leave_no_tensor_behind(bare, cached, product_of):
    experts = [cached(bare(0)), cached(bare(1))]
    assert_no_tensor_stays(lambda: product_of(experts), times=50)
    for expert in experts:
        holder = expert.model.model_options["transformer_options"]["easycache"]
        assert not holder.uuid_cache_diffs
        assert holder.end_t == 0.0  # as the node made it


def test_lazycache_is_refused_where_it_could_not_act(bare, cached, product_of, skipped):
    first, second = bare(0), cached(bare(1), "LazyCache")
    with pytest.raises(ValueError, match=r"on the MODEL of expert 2 .* got lazycache .*; attach it to expert 1"):
        product_of([first, second])
    _, found = skipped(lambda: product_of([cached(first, "LazyCache"), bare(1)]))
    assert found != [0]


def scaled(executor, noise, *args, **kwargs):
    """A wrapper that changes what the run starts from."""
    return executor(2 * noise, *args, **kwargs)


def answered(executor, noise, *args, **kwargs):
    """A wrapper that lets no run begin."""
    return noise


def halved(executor, *args, **kwargs):
    """A wrapper that changes what comes out."""
    return executor(*args, **kwargs) / 2


def wrapped(expert, wrapper):
    model = expert.model.clone()
    model.add_wrapper(WrappersMP.OUTER_SAMPLE, wrapper)
    return replace(expert, model=model)


@pytest.mark.parametrize(("wrapper", "sentence"), [(scaled, "leave the noise of the run alone"), (answered, "begin")])
def test_wrappers_that_change_the_whole_run_are_the_first_experts(bare, product_of, wrapper, sentence):
    first, second = bare(0), bare(1)
    with pytest.raises(ValueError, match=rf"MODEL of expert 2 .*{sentence}.*; attach it to the first expert"):
        product_of([first, wrapped(second, wrapper)])
    assert product_of([first, second]).isfinite().all()


def test_a_wrapper_that_both_have_changes_the_run_once(bare, product_of):
    first, second = bare(0), bare(1)
    once = product_of([wrapped(first, scaled), second])
    assert torch.equal(product_of([wrapped(first, scaled), wrapped(second, scaled)]), once)
    assert not torch.equal(product_of([first, second]), once)


def test_what_another_experts_wrapper_does_to_the_result_is_left_out_and_said(bare, product_of, caplog):
    first, second = bare(0), bare(1)
    found = product_of([first, wrapped(second, halved)])
    assert "node on the MODEL of expert 2 changed the result of the run" in caplog.text
    assert torch.equal(found, product_of([first, second]))


def test_two_prompts_on_one_model_are_sampled_as_often_as_a_node_wants(bare, product_of, sampled):
    """AnimateDiff-Evolved's Iteration Options run the sampling again, on what it made."""

    def twice(executor, noise, latent, *args, **kwargs):
        return executor(noise, executor(noise, latent, *args, **kwargs), *args, **kwargs)

    model = bare(0).model.clone()
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "twice", twice)
    first, second = (replace(bare(0, model), weight=weight) for weight in (1.0, 2.0))
    theirs = sampled(core_guider(replace(first, weight=3.0)), steps=STEPS)
    assert_close(product_of([first, second]), theirs)

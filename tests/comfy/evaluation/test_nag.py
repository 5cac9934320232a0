"""Core's NAG on any expert, which reads a condition beside its own null: each expert's pair as core asks it."""

import logging
from dataclasses import replace

import comfy_extras.nodes_nag as nag
import pytest
import torch

from ..support.closeness import assert_close
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.networks import network
from ..support.oracle.variants import conditioning, expert_of

SHAPES = {"eps": (2, 4, 8, 12), "Flux": (2, 16, 8, 12)}


@pytest.fixture(scope="module")
def attach(pack):
    """An expert with NAG on its MODEL."""
    return lambda expert: replace(expert, model=nag.NAGuidance.execute(expert.model, 3.0, 0.7, 1.5).args[0])


@pytest.fixture(scope="module")
def bare(attach):
    """An expert on a network of its own, by layout and place; the null is the same for all.

    It has as many tokens as the conditions, else Flux could not read both in one batch.
    """
    return lambda layout, place: replace(expert_of(network(layout, place + 1), place), null=conditioning(-1))


@pytest.fixture
def rows(caplog):
    """Run something, and tell the rows per picture that its log says it takes more."""

    def run(function):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            result = function()
        said = [record for record in caplog.records if "together with its own negative" in record.getMessage()]
        return result, [record.args[-1] for record in said]

    return run


SHARES = {
    "as they are": ({}, {}),
    "weights that sum to 1": ({"weight": 0.4}, {"weight": 0.6}),
    "the second's null counts for nothing": ({}, {"reliability": 0.0}),
    "the first's null counts for nothing": ({"reliability": 0.0}, {}),
}


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_one_expert_is_cores_guider(bare, attach, product_of, sampled, layout, cfg):
    expert = replace(attach(bare(layout, 0)), weight=cfg)
    theirs = sampled(core_guider(expert), shape=SHAPES[layout])
    assert torch.equal(product_of([expert], shape=SHAPES[layout]), theirs)


@pytest.mark.one_of(16)
@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("places", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("shares", SHARES)
def test_each_expert_is_asked_as_core_asks_it(bare, attach, product_of, by_core, layout, places, shares):
    experts = [replace(bare(layout, place), **SHARES[shares][place]) for place in range(2)]
    experts = [attach(expert) if i in places else expert for i, expert in enumerate(experts)]
    theirs = by_core(experts, shape=SHAPES[layout])
    assert_close(product_of(experts, shape=SHAPES[layout]), theirs)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("shares", SHARES)
def test_two_experts_on_one_model_and_null(bare, attach, product_of, by_core, layout, shares):
    def make(networks):
        settings = enumerate(SHARES[shares])
        return [attach(replace(bare(layout, i), model=networks[i].model, **of)) for i, of in settings]

    shared = bare(layout, 0)
    theirs = by_core(make([bare(layout, 0), bare(layout, 0)]), shape=SHAPES[layout])
    found = product_of(make([shared, shared]), shape=SHAPES[layout])
    assert_close(found, theirs)


@pytest.mark.parametrize("layout", SHAPES)
def test_nag_matters(bare, attach, by_core, layout):
    experts = [bare(layout, 0), bare(layout, 1)]
    with_nag = by_core([experts[0], attach(experts[1])], shape=SHAPES[layout])
    assert (with_nag - by_core(experts, shape=SHAPES[layout])).abs().max() > 1e-2 * with_nag.std()


def test_the_log_counts_the_rows_that_the_product_does_not_need(bare, attach, product_of, rows):
    first, second = bare("eps", 0), attach(bare("eps", 1))
    assert rows(lambda: product_of([first, second]))[1] == [0]
    assert rows(lambda: product_of([first, replace(second, reliability=0.0)]))[1] == [1]
    one_model = [replace(second, weight=weight) for weight in (1.6, 0.9, -0.5)]
    assert rows(lambda: product_of(one_model))[1] == [2]  # one null would do for all
    assert rows(lambda: product_of([first, bare("eps", 1)]))[1] == []


def test_without_a_null_it_is_said(bare, attach, product_of, caplog):
    first, second = bare("eps", 0), attach(replace(bare("eps", 1), null=None, reliability=0.0))
    assert product_of([first, second]).isfinite().all()
    assert "MODEL of expert 2 reads the negative beside the prompt, and there is none" in caplog.text

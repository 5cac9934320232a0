"""Core's NAG on any expert, which reads a condition beside its own null: each expert's pair as core asks it."""

import logging
from dataclasses import replace

import pytest
import torch

STEPS = 3
CHANNELS = {"eps": 4, "Flux": 16}


@pytest.fixture(scope="module")
def attach(pack):
    """An expert with NAG on its MODEL."""
    import comfy_extras.nodes_nag as nag

    return lambda expert: replace(expert, model=nag.NAGuidance.execute(expert.model, 3.0, 0.7, 1.5).args[0])


@pytest.fixture(scope="module")
def bare(attach):
    """An expert on a network of its own, by layout and place; the null is the same for all.

    It has as many tokens as the conditions, else Flux could not read both in one batch.
    """
    from ..support.oracle.networks import network
    from ..support.oracle.variants import conditioning, expert_of

    return lambda layout, place: replace(expert_of(network(layout, place + 1), place), null=conditioning(-1))


@pytest.fixture
def start(pack):
    """Start noise and noise levels, by layout."""
    import comfy.samplers

    from ..support.oracle.networks import network

    def build(layout):
        noise = torch.randn(2, CHANNELS[layout], 8, 12, generator=torch.Generator().manual_seed(3))
        schedule = network(layout, 1).get_model_object("model_sampling")
        return noise, comfy.samplers.calculate_sigmas(schedule, "normal", STEPS)

    return build


@pytest.fixture
def product_of(node, start):
    """Sample a chain with Product Guider."""
    import comfy.samplers

    @torch.no_grad()
    def run(layout, experts):
        chain = ()
        for expert in experts:
            (chain,) = node("MCDM_Expert", experts=chain, **vars(expert))
        noise, sigmas = start(layout)
        euler = comfy.samplers.sampler_object("euler")
        return node("MCDM_Guider", experts=chain)[0].sample(noise, torch.zeros_like(noise), euler, sigmas, seed=3)

    return run


@pytest.fixture
def by_core(start):
    """Sample by core's own guiders."""

    def run(layout, experts):
        from ..support.oracle.core_guiders import sample_by_core_guiders

        return sample_by_core_guiders(experts, *start(layout))

    return run


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


@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_one_expert_is_cores_guider(bare, attach, product_of, start, layout, cfg):
    import comfy.samplers

    from ..support.oracle.core_guiders import core_guider

    expert = replace(attach(bare(layout, 0)), weight=cfg)
    noise, sigmas = start(layout)
    euler = comfy.samplers.sampler_object("euler")
    with torch.no_grad():
        theirs = core_guider(expert).sample(noise, torch.zeros_like(noise), euler, sigmas, seed=3)
    assert torch.equal(product_of(layout, [expert]), theirs)


@pytest.mark.one_of(8)
@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("places", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("shares", SHARES)
def test_each_expert_is_asked_as_core_asks_it(bare, attach, product_of, by_core, layout, places, shares):
    experts = [replace(bare(layout, place), **SHARES[shares][place]) for place in range(2)]
    experts = [attach(expert) if i in places else expert for i, expert in enumerate(experts)]
    theirs = by_core(layout, experts)
    torch.testing.assert_close(product_of(layout, experts), theirs, atol=1e-4 * theirs.std().item(), rtol=0)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("shares", SHARES)
def test_two_experts_on_one_model_and_null(bare, attach, product_of, by_core, layout, shares):
    def make(networks):
        settings = enumerate(SHARES[shares])
        return [attach(replace(bare(layout, i), model=networks[i].model, **of)) for i, of in settings]

    shared = bare(layout, 0)
    theirs = by_core(layout, make([bare(layout, 0), bare(layout, 0)]))
    found = product_of(layout, make([shared, shared]))
    torch.testing.assert_close(found, theirs, atol=1e-4 * theirs.std().item(), rtol=0)


@pytest.mark.parametrize("layout", CHANNELS)
def test_nag_matters(bare, attach, by_core, layout):
    experts = [bare(layout, 0), bare(layout, 1)]
    with_nag = by_core(layout, [experts[0], attach(experts[1])])
    assert (with_nag - by_core(layout, experts)).abs().max() > 1e-2 * with_nag.std()


def test_the_log_counts_the_rows_that_the_product_does_not_need(bare, attach, product_of, rows):
    first, second = bare("eps", 0), attach(bare("eps", 1))
    assert rows(lambda: product_of("eps", [first, second]))[1] == [0]
    assert rows(lambda: product_of("eps", [first, replace(second, reliability=0.0)]))[1] == [1]
    one_model = [replace(second, weight=weight) for weight in (1.6, 0.9, -0.5)]
    assert rows(lambda: product_of("eps", one_model))[1] == [2]  # one null would do for all
    assert rows(lambda: product_of("eps", [first, bare("eps", 1)]))[1] == []


def test_without_a_null_it_is_said(bare, attach, product_of, caplog):
    first, second = bare("eps", 0), attach(replace(bare("eps", 1), null=None, reliability=0.0))
    assert product_of("eps", [first, second]).isfinite().all()
    assert "MODEL of expert 2 reads the negative beside the prompt, and there is none" in caplog.text

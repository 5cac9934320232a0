"""Fewer passes: against plain loops, to the bit where nothing is left out, and to the row."""

import logging
import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from mcdm_core import (
    EQ10,
    OWN_NULL,
    Passes,
    ProductDenoiser,
    Term,
    combined_epsilon,
    sample_ddim,
    sample_product,
    sigmas_for,
)
from mcdm_core.diffusion.schedule import sigma_at_progress
from mcdm_core.product.methods.method import Method, Setting
from mcdm_core.product.methods.registry import SETTINGS, methods_of, register
from studies.gaussian import label

from ...support import gaussians
from ...support.fewer_passes import Remembering, factor, sample_heun, unguided
from ...support.gaussians import NULL, recorded, rows

CHANNELS = 5
STEPS = "12"
experts, chain = (partial(make, channels=CHANNELS) for make in (gaussians.experts, gaussians.chain))


def start(batch=2):
    return torch.randn(batch, CHANNELS, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def sampled(terms, sampler=sample_ddim, rule=EQ10, batch=2, **policy):
    options = {"eta": 1.0} if sampler is sample_ddim else {}
    options |= {"sampler": sampler, "rule": rule, "generator": torch.Generator().manual_seed(2)}
    return sample_product(terms, start(batch), STEPS, settings=[Passes(**policy)], **options)


class BruteForce:
    """Every expert under its condition and its null in every call; Eq. 10 by hand."""

    def __init__(self, terms, start=0.0, end=1.0, sigma_start=math.inf, sigma_end=0.0, **remembered):
        self.terms = terms
        self.schedule = terms[0].expert.schedule
        self.levels = sigmas_for(self.schedule, STEPS)
        low = 0.0 if end == 1 else sigma_at_progress(self.schedule, end)
        self.interval = (min(sigma_at_progress(self.schedule, start) * (1 + 1e-9), sigma_start), max(low, sigma_end))
        self.memory = Remembering(self.levels, **remembered)
        self.left_out = 0

    def share(self, sigma):
        last = len(self.schedule) - 1
        return 1 - float(self.schedule.t(sigma)) / last

    def __call__(self, x, sigma):
        weights = [t.weight * factor(t.weight_curve or [(0.0, 1.0)], self.share(sigma)) for t in self.terms]
        cond = {i: t.expert.predict_x0(x, sigma, t.condition) for i, t in enumerate(self.terms)}
        null = {j: self.terms[j].expert.predict_x0(x, sigma, label(NULL)) for j in (0, 1)}
        if not self.interval[0] >= sigma > self.interval[1]:
            weights, null = unguided(weights), {}
        cond = {i: found for i, found in cond.items() if weights[i] != 0}
        cond, null = self.memory.call(sigma, sigma, cond, null, {0: 0, 1: 1, 2: 0})
        if not null:
            return sum(w * cond[i] for i, w in enumerate(weights) if i in cond)
        total = sum(t.reliability for t in self.terms)
        u = sum(t.reliability / total * null[j] for t, j in zip(self.terms, (0, 1, 0), strict=True))
        return u + sum(w * (cond[i] - u) for i, w in enumerate(weights) if i in cond)


POLICIES = {
    "adaptive null": {"threshold": 0.3, "refresh": 3},
    "all that can be": {"threshold": -1.0, "refresh": 5},
    "interval in shares": {"start": 0.25, "end": 0.7},
    "interval in noise levels": {"sigma_start": 5.0, "sigma_end": 0.1},
    "all of them": {"start": 0.1, "sigma_end": 0.05, "threshold": 0.3, "refresh": 3},
}


@pytest.mark.one_of(6)
@pytest.mark.parametrize("sampler", [sample_ddim, sample_heun])
@pytest.mark.parametrize("policy", POLICIES)
def test_agrees_with_plain_loops(policy, sampler):
    terms = chain()
    terms[1] = replace(terms[1], weight_curve=((0.0, 0.5), (0.4, 2.0), (0.9, 1.0)))
    found, asked = sampled(terms, sampler, **POLICIES[policy]), rows(terms)
    oracle = BruteForce(terms, **POLICIES[policy])
    options = {"eta": 1.0} if sampler is sample_ddim else {}
    begin = start() * math.hypot(1.0, oracle.levels[0])
    expected = sampler(oracle, begin, oracle.levels, generator=torch.Generator().manual_seed(2), **options)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert asked == 2 * sum(oracle.memory.asked)
    calls = 12 if sampler is sample_ddim else 23
    assert len(oracle.memory.asked) == calls
    assert asked < 2 * 5 * calls
    assert (found - sampled(chain(), sampler)).abs().max() > 1e-3  # the method has a say


SAME = {
    "the defaults": {},
    "an interval over all levels": {"sigma_start": 1e9, "sigma_end": 1e-9},
    "a threshold of 1": {"threshold": 1.0, "refresh": 9},
    "a refresh at every step": {"threshold": -1.0, "refresh": 1},
    "no turns": {"switch": 0},
}


@pytest.mark.one_of(5)
@pytest.mark.parametrize("rule", [EQ10, OWN_NULL])
@pytest.mark.parametrize("sampler", [sample_ddim, sample_heun])
@pytest.mark.parametrize("policy", SAME)
def test_where_nothing_is_left_out_it_is_the_plain_product_to_the_bit(policy, sampler, rule):
    plain, terms = chain(), chain()
    assert torch.equal(sampled(terms, sampler, rule, **SAME[policy]), sampled(plain, sampler, rule))
    assert rows(terms) == rows(plain)


@pytest.mark.parametrize("curve", [((0.0, 1.0), (1.0, 1.0)), ((0.3, 1.0),)])
def test_a_curve_of_ones_is_the_plain_product_to_the_bit(curve):
    assert torch.equal(sampled(chain(weight_curve=curve)), sampled(chain()))


def test_outside_the_interval_no_null_is_asked():
    terms = chain(weights=(2.0, 1.5, 0.5))
    sampled(terms, batch=1, sigma_end=1e9)
    assert rows(terms) == 12 * 3
    lone = [replace(term, null=None) for term in terms]
    weights = [2 / 4, 1.5 / 4, 0.5 / 4]
    expected = sampled([replace(term, weight=w) for term, w in zip(terms, weights, strict=True)])
    for rule in (EQ10, OWN_NULL):
        torch.testing.assert_close(sampled(lone, rule=rule, sigma_end=1e9), expected)


def test_outside_the_interval_masks_divide_the_weights_place_by_place():
    masks = [torch.tensor([[1.0, 0.5], [0.0, 0.0]]), torch.tensor([[0.0, 0.5], [1.0, 0.0]]), None]
    terms = [replace(term, mask=mask) for term, mask in zip(chain(weights=(2.0, 1.0, 0.0)), masks, strict=True)]
    x, sigma = start(), 1.3
    denoised = ProductDenoiser(terms, settings=[Passes(sigma_end=1e9)])(x, sigma)
    one, two = (term.expert.predict_x0(x, sigma, term.condition) for term in terms[:2])
    shares = torch.tensor([[1.0, 2 / 3], [0.0, 2 / 3]], dtype=torch.float64)  # where no mask is, the bare weights'
    torch.testing.assert_close(denoised, combined_epsilon([one, two], [None] * 2, [shares, 1 - shares], [0, 0]))


def in_turn(terms, length, rule):
    """Eq. 10, or the own-null rule, of the experts whose turn it is: of the first two, whose weights are positive."""
    levels = sigmas_for(terms[0].expert.schedule, STEPS)

    def denoise(x, sigma):
        passed = 0
        while levels[passed + 1] >= sigma * (1 - 1e-9):  # heun's second call in a step is at the next one's level
            passed += 1
        acting = [terms[passed // length % 2], terms[2]]
        cond = [t.expert.predict_x0(x, sigma, t.condition) for t in acting]
        null = [t.expert.predict_x0(x, sigma, label(NULL)) for t in acting]
        total = sum(t.reliability for t in acting)
        u = sum(t.reliability / total * found for t, found in zip(acting, null, strict=True))
        base = null if rule is OWN_NULL else [u, u]
        return u + sum(t.weight * (c - b) for t, c, b in zip(acting, cond, base, strict=True))

    return denoise, levels


@pytest.mark.one_of(3)
@pytest.mark.parametrize("rule", [EQ10, OWN_NULL])
@pytest.mark.parametrize("sampler", [sample_ddim, sample_heun])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_experts_of_positive_weight_take_turns(length, sampler, rule):
    terms = chain()
    denoise, levels = in_turn(terms, length, rule)
    options = {"eta": 1.0} if sampler is sample_ddim else {}
    begin = start() * math.hypot(1.0, levels[0])
    expected = sampler(denoise, begin, levels, generator=torch.Generator().manual_seed(2), **options)
    torch.testing.assert_close(sampled(terms, sampler, rule, switch=length), expected, rtol=1e-9, atol=1e-9)


def test_who_waits_for_its_turn_is_not_asked(caplog):
    terms = chain()
    with caplog.at_level(logging.INFO):
        sampled(terms, batch=1, switch=3)
    # The first expert's turn asks two conditions and one null, of one network; the second's both networks for both.
    assert rows(terms) == 6 * 3 + 6 * 4
    assert caplog.messages == ["Fewer passes: networks were asked 42 rows in place of 60; 18 were saved (30.0 %)."]


def test_turns_end_with_the_run_and_experts_act_together_outside_of_one():
    terms = chain()
    denoiser = ProductDenoiser(terms, settings=[Passes(switch=1)])
    levels = sigmas_for(terms[0].expert.schedule, STEPS)
    begin, together = start() * levels[0], ProductDenoiser(terms)(start() * levels[0], levels[1])
    denoiser.check_run(begin, levels)
    with denoiser.running(levels):
        assert not torch.equal(denoiser(begin, levels[1]), together)
    assert torch.equal(denoiser(begin, levels[1]), together)


def test_a_window_takes_an_expert_out_of_the_turns():
    terms = [replace(term, end=0.5) if place == 1 else term for place, term in enumerate(chain())]
    found = recorded(terms[1].expert).network
    sampled(terms, batch=1, switch=1)
    edge = sigma_at_progress(terms[0].expert.schedule, 0.5)
    levels = [level for level in sigmas_for(terms[0].expert.schedule, STEPS) if level > edge]
    assert sorted({round(level, 6) for level in found.levels}) == sorted(round(level, 6) for level in levels[1::2])


def test_turns_in_which_a_null_is_missing_are_refused_before_the_first_pass():
    """Together the weights sum to 1, one by one they don't."""
    terms = [replace(term, null=None) for term in chain(weights=(0.5, 0.5, 0.0))][:2]
    sampled(terms)
    for term in terms:
        term.expert.network.batches.clear()
    with pytest.raises(ValueError, match="Expert 1 needs a negative"):
        sampled(terms, switch=2)
    assert rows(terms) == 0


@pytest.mark.parametrize("policy", ["adaptive null", "all of them"])
def test_every_parameterization_gives_the_same(policy):
    expected = sampled(chain("eps", "eps"), **POLICIES[policy])
    for other in ("v", "x0", "flow"):
        torch.testing.assert_close(sampled(chain("eps", other), **POLICIES[policy]), expected, rtol=1e-6, atol=1e-6)


def test_nothing_of_a_run_survives_it():
    terms = chain()
    denoiser = ProductDenoiser(terms, settings=[Passes(**POLICIES["adaptive null"])])
    levels = sigmas_for(terms[0].expert.schedule, STEPS)
    begin = start() * levels[0]

    def run(stop=None):
        def check(step, sigma, x0):
            if step == stop:
                raise KeyboardInterrupt

        terms[0].expert.network.batches.clear()
        with denoiser.running(levels):
            return sample_ddim(denoiser, begin, levels, callback=check)

    first, attributes = run(), {**vars(denoiser), "_rows": None}
    counted = list(terms[0].expert.network.batches)
    for stop in (1, 4, 7):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
        assert {**vars(denoiser), "_rows": None} == attributes
        assert torch.equal(run(), first)
    assert all(torch.equal(run(), first) and terms[0].expert.network.batches == counted for _ in range(50))
    x0, alone = denoiser(begin, levels[3]), ProductDenoiser(terms)(begin, levels[3])
    assert torch.equal(x0, alone)  # outside a run nothing is remembered


def test_noise_that_rises_asks_everything():
    terms = chain()
    denoiser = ProductDenoiser(terms, settings=[Passes(threshold=-1.0, refresh=50)])
    levels = [4.0, 2.0, 1.0, 0.5]
    with denoiser.running(levels):
        for sigma in (4.0, 2.0, 4.0, 1.0, 4.2):
            denoiser(start(1), sigma)
    assert terms[0].expert.network.batches == [3, 2, 3, 2, 3]


def test_another_shape_or_other_terms_ask_everything():
    terms = [replace(term, end=0.5) if place == 1 else term for place, term in enumerate(chain())]
    denoiser = ProductDenoiser(terms, settings=[Passes(threshold=-1.0, refresh=50)])
    edge = denoiser.windows[1][1]
    with denoiser.running([4 * edge, 2 * edge, edge, edge / 2, 0.0]):
        for batch, sigma in ((1, 4 * edge), (1, 2 * edge), (2, 2 * edge), (2, edge), (2, edge / 2)):
            denoiser(start(batch), sigma)
    assert terms[0].expert.network.batches == [3, 2, 6, 6, 4]


def test_a_null_that_no_condition_of_its_own_is_beside_is_always_asked():
    one, two = experts("eps", "eps")
    terms = [Term(one, None, label(NULL), weight=0), Term(two, label(1), None, weight=2, reliability=0)]
    sampled(terms, batch=1, threshold=-1.0, refresh=4)
    assert rows(terms) == 24


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"threshold": math.nan}, "threshold of a cosine"),
        ({"threshold": 1.1}, "threshold of a cosine"),
        ({"refresh": 0}, "every 1 to 100 steps"),
        ({"switch": -1}, "turns of 0 to 100 steps"),
        ({"switch": 101}, "turns of 0 to 100 steps"),
        ({"switch": 1.5}, r"whole number of steps as switch and got 1\.5; set 1, say"),
        ({"refresh": math.inf}, "whole number of steps as refresh and got inf"),
        ({"refresh": "3"}, "Expected a number as refresh for the guidance interval and got '3'"),
        ({"start": 0.6, "end": 0.4}, "start below end for the guidance interval and got 0.6 and 0.4"),
        ({"end": math.nan}, "start and end between 0 and 1 for the guidance interval"),
        ({"sigma_start": -1.0}, "noise levels of 0 or more"),
        ({"sigma_end": math.inf}, "noise levels of 0 or more"),
        ({"sigma_start": 1.0, "sigma_end": 2.0}, "sigma_start above sigma_end for the guidance interval"),
    ],
)
def test_refusals(policy, message):
    with pytest.raises(ValueError, match=message) as error:
        Passes(**policy)
    assert str(error.value).endswith(".")


def test_a_run_that_leaves_the_interval_without_a_positive_weight_is_refused_before_the_first_pass():
    terms = chain(weights=(-1.0, 0.0, -0.4))
    with pytest.raises(ValueError, match=r"positive weight wherever the guidance interval .* none among expert 1"):
        sampled(terms, end=0.5)
    assert rows(terms) == 0
    sampled(terms, sigma_start=1e9)
    handed_over = [replace(terms[0], weight=2.0, end=0.5), replace(terms[1], weight=-1.0, start=0.5), terms[2]]
    with pytest.raises(ValueError, match="positive weight wherever"):
        sampled(handed_over, end=0.7)


def test_a_null_that_only_a_curve_makes_count_is_asked_for_before_the_first_pass():
    terms = [replace(term, null=None) for term in chain(weights=(0.5, 0.5, 0.0))]
    sampled(terms)
    bent = [replace(terms[0], weight_curve=((0.4, 1.0), (0.5, 2.0), (0.6, 1.0))), *terms[1:]]
    for term in terms:
        term.expert.network.batches.clear()
    with pytest.raises(ValueError, match="Expert 1 needs a negative"):
        sampled(bent)
    assert rows(terms) == 0


def test_a_method_that_changes_the_sum_of_unguided_weights_is_refused():
    class Weaker(Method):
        def draft(self, draft, phase):
            return replace(draft, weights=[0.5 * weight for weight in draft.weights])

    with pytest.raises(ValueError, match=r"sum to 1 outside a guidance interval, .* changed to 0\.5 in all"):
        sample_product(chain(), start(), STEPS, settings=[Passes(start=0.6), Weaker()])


def test_methods_take_part_in_the_order_in_which_settings_are_given():
    given = [Method(), Passes(switch=1), Method()]
    assert methods_of(given)[::3] == (given[0], given[2])


def test_a_kind_of_setting_without_a_label_is_refused():
    with pytest.raises(TypeError, match=r"Expected Nameless to have a label of its own .*; override `label`"):
        register(type("Nameless", (Setting,), {"name": "Nameless"}))
    assert [Passes] == SETTINGS

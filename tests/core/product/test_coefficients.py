"""Coefficients of a plan, the predictions that it takes, and Eq. 10 as a pair of guidance."""

from dataclasses import dataclass

import pytest
import torch

from mcdm_core import combined_epsilon
from mcdm_core.product.plans.combination import Combination, Moment, plan_product
from mcdm_core.product.plans.coverage import warn_of_empty, warn_of_uncovered
from mcdm_core.product.rules.coefficients import Coefficients
from mcdm_core.product.rules.eq10 import EQ10, guidance_pair
from mcdm_core.product.term_numbers import TermNumbers

LEFT = torch.tensor([1.0, 1.0, 0.0, 0.0])


@dataclass(frozen=True)
class Named(TermNumbers):
    """Settings of an expert that has a name."""

    label: str = ""


def settings(*pairs):
    named = zip(("first", "second"), pairs, strict=False)
    return [Named(label=name, weight=weight, reliability=reliability) for name, (weight, reliability) in named]


def planned(pair, active, masks, want_null=False, **plans):
    combination = Combination(terms=pair, rule=EQ10, masks=masks, **plans)
    return plan_product(combination, Moment(active, (1.0,) * len(pair), (), want_null))


def test_a_null_counts_only_where_the_weights_do_not_sum_to_1():
    pair = settings((1.0, 1.0), (3.0, 1.0))
    found = planned(pair, (0, 1), [LEFT, 1 - LEFT])
    assert found.conditions == (0, 1)
    assert found.nulls == (1,)
    assert planned(pair, (0, 1), [LEFT, 1 - LEFT], want_null=True).nulls == (0, 1)
    assert planned(pair, (0, 1), [None, None]).nulls == (0, 1)
    assert planned(pair, (0,), [None, None]).nulls == ()


def test_experts_without_a_say_are_not_asked():
    found = planned(settings((0.0, 2.0), (3.0, 0.0)), (0, 1), [None, None])
    assert (found.conditions, found.nulls, found.reliabilities) == ((1,), (0,), [1.0, 0.0])
    inactive = planned(settings((2.0, 1.0), (3.0, 1.0)), (1,), [None, None])
    assert (inactive.weights, inactive.conditions, inactive.nulls) == ([0.0, 3.0], (1,), (1,))


@pytest.mark.parametrize(
    ("pair", "active", "masks", "as_guidance", "alone"),
    [
        (settings((3.0, 1.0)), (0,), [None], True, True),
        (settings((3.0, 1.0), (2.0, 1.0)), (0,), [None, None], True, True),
        (settings((3.0, 1.0), (0.0, 0.0)), (0, 1), [None, None], True, True),
        (settings((3.0, 1.0), (0.0, 1.0)), (0, 1), [None, None], True, False),
        (settings((3.0, 1.0), (2.0, 1.0)), (0, 1), [None, None], True, False),
        (settings((3.0, 1.0), (2.0, 1.0)), (1,), [None, None], True, False),
        (settings((3.0, 1.0)), (0,), [LEFT], True, False),
        (settings((3.0, 1.0)), (0,), [None], False, False),
    ],
)
def test_it_is_known_when_guidance_is_of_one_expert_to_the_bit(pair, active, masks, as_guidance, alone):
    found = planned(pair, active, masks, as_guidance=as_guidance)
    cond, null = ({i: torch.randn(1, 4) for i in range(len(pair))} for _ in range(2))
    assert found.is_single(0) == alone
    assert all(map(torch.equal, found.pair(cond, null), (cond[0], null[0]))) == alone


def test_reliabilities_that_are_all_0_are_refused_by_name():
    pair = settings((1.0, 1.0), (3.0, 0.0))
    with pytest.raises(ValueError, match=r"got 0 for second; raise .* or let the weights sum to 1"):
        planned(pair, (1,), [None, None])
    for weight in (1.0, 2.0):
        with pytest.raises(ValueError, match=r"got 0 for first; raise .* whatever the weights sum to"):
            planned(settings((weight, 0.0), (0.0, 1.0)), (0,), [None, None], want_null=True)


@pytest.mark.parametrize(
    ("weights", "masks", "said"),
    [
        ((2.0, 0.0), (LEFT, None), ["No mask covers 50.0 %"]),
        (
            (2.0, 0.0),
            (LEFT, 1 - LEFT),
            ["No mask covers 50.0 %"],
        ),
        ((2.0, -1.0), (LEFT, 1 - LEFT), []),
        ((2.0, -1.0), (LEFT, None), []),
        ((0.0, 0.0), (LEFT, None), []),
    ],
)
def test_places_that_no_guidance_covers_are_named(caplog, weights, masks, said):
    pair = settings(*((weight, 1.0) for weight in weights))
    assert warn_of_uncovered(pair, (0, 1), masks) is bool(said)
    assert [record.getMessage().partition(" of the picture, ")[0] for record in caplog.records] == said
    caplog.clear()
    assert not warn_of_uncovered(pair, (1,), (LEFT, None))


@pytest.mark.parametrize(
    ("numbers", "masks", "named"),
    [
        (((2.0, 1.0), (1.0, 1.0)), (None, 0 * LEFT), ["second"]),
        (((2.0, 1.0), (1.0, 1.0)), (0 * LEFT, 0 * LEFT), ["first", "second"]),
        (((2.0, 1.0), (0.0, 1.0)), (None, 0 * LEFT), ["second"]),  # whose null is lost
        (((2.0, 1.0), (0.0, 0.0)), (None, 0 * LEFT), []),
        (((2.0, 1.0), (1.0, 1.0)), (None, LEFT), []),
    ],
)
def test_an_expert_that_its_mask_leaves_without_a_say_is_named(caplog, numbers, masks, named):
    warn_of_empty(settings(*numbers), masks)
    said = [record.getMessage().partition(",")[0] for record in caplog.records]
    assert said == [f"The mask of {name} is 0 everywhere" for name in named]


@pytest.mark.parametrize(
    ("weights", "scale"),
    [
        ([1.5, 2.5], 4.0),
        ([1.0, -1.0], 1.0),
        ([20.0, -19.99], 0.01),
        ([3.0 * LEFT, 2.0 * (1 - LEFT)], 3.0),
        ([LEFT, 3.0 * (1 - LEFT)], 3.0),
    ],
    ids=["numbers", "cancelling", "almost cancelling", "maps", "1 in places"],
)
def test_the_pair_is_the_rule(weights, scale):
    generator = torch.Generator().manual_seed(0)
    cond, null = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64).unbind(0)
    trust = [0.3, 0.7]
    expected = combined_epsilon(list(cond), list(null), weights, trust)
    target, u = guidance_pair(list(cond), list(null), Coefficients(weights, trust, scale))
    torch.testing.assert_close(u + scale * (target - u), expected)


def test_the_pair_does_without_nulls_that_do_not_count():
    cond, null = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind(0)
    weights, trust = [LEFT, 3.0 * (1 - LEFT)], [LEFT, 1 - LEFT]
    expected = combined_epsilon(list(cond), list(null), weights, trust)
    target, u = guidance_pair(list(cond), [None, null[1]], Coefficients(weights, trust, 3.0))
    torch.testing.assert_close(u + 3.0 * (target - u), expected)
    torch.testing.assert_close(u[..., :2], target[..., :2])  # hooks see no guidance where there is none

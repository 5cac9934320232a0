"""Rules of combination: Eq. 10 and own nulls as functions, coefficients of a plan, predictions that it takes."""

import math
from dataclasses import dataclass

import pytest
import torch

from mcdm_core import combined_epsilon, normalize_reliabilities, own_null_epsilon
from mcdm_core.product.methods.interval import GuidanceInterval
from mcdm_core.product.plans.combination import Combination, Moment, plan_product
from mcdm_core.product.plans.coverage import warn_of_empty, warn_of_uncovered
from mcdm_core.product.rules.coefficients import Coefficients
from mcdm_core.product.rules.eq10 import EQ10, guidance_pair
from mcdm_core.product.rules.own_null import own_null_pair
from mcdm_core.product.terms.span import Span
from mcdm_core.product.terms.term_numbers import TermNumbers

RULES = [combined_epsilon, own_null_epsilon]


def predictions(count: int) -> list[torch.Tensor]:
    return list(torch.randn(count, 2, 3, 4, 4, dtype=torch.float64))


def test_it_is_equation_10():
    c, u = predictions(3), predictions(3)
    w, a = [2.0, -0.5, 1.5], [0.5, 0.2, 0.3]
    shared = sum(a_j * u_j for a_j, u_j in zip(a, u, strict=True))
    expected = sum(w_i * c_i for w_i, c_i in zip(w, c, strict=True)) - (sum(w) - 1) * shared
    torch.testing.assert_close(combined_epsilon(c, u, w, a), expected)


@pytest.mark.parametrize("rule", RULES)
def test_one_expert_is_classifier_free_guidance_bit_for_bit(rule):
    c, u = torch.randn(2, 1, 3, 8, 8)
    assert torch.equal(rule([c], [u], [7.3], [1]), u + (c - u) * 7.3)
    assert torch.equal(rule([c], [None], [1], [1]), c)
    assert torch.equal(rule([None], [u], [0], [1]), u)


def test_maps_act_place_by_place():
    c, u = predictions(2), predictions(2)
    w, a = [torch.rand(2, 1, 4, 4), 2.0], [torch.rand(4, 4), 0.0]
    a[1] = 1 - a[0]
    combined = combined_epsilon(c, u, w, a)
    for row, y, x in ((0, 0, 0), (1, 3, 2)):
        place = (slice(row, row + 1), slice(None), slice(y, y + 1), slice(x, x + 1))
        numbers = combined_epsilon(
            [t[place] for t in c],
            [t[place] for t in u],
            [w[0][row, 0, y, x].item(), 2.0],
            [a[0][y, x].item(), a[1][y, x].item()],
        )
        torch.testing.assert_close(combined[place], numbers, rtol=1e-6, atol=1e-6)


def test_predictions_without_a_say_may_be_left_out():
    c, u = predictions(2), predictions(2)
    full = combined_epsilon(c, u, [3.0, 0.0], [1.0, 0.0])
    assert torch.equal(combined_epsilon([c[0], None], [u[0], None], [3.0, 0.0], [1.0, 0.0]), full)
    assert torch.equal(
        combined_epsilon(c, u, [0.25, 0.75], [5, 5]), combined_epsilon(c, [None] * 2, [0.25, 0.75], [0, 0])
    )
    # Ten tenths are 1 although their float sum is not.
    combined_epsilon([c[0]] * 10, [None] * 10, [0.1] * 10, [0.1] * 10)


def test_a_null_may_be_left_out_where_a_map_of_weights_makes_it_useless():
    c, u = predictions(2), predictions(2)
    right = torch.tensor([0.0, 0.0, 1.0, 1.0])
    w, a = [1 + right, 0.0], [1 - right, right]
    combined = combined_epsilon([c[0], None], [None, u[1]], w, a)
    assert torch.equal(combined[..., :2], c[0][..., :2])
    torch.testing.assert_close(combined[..., 2:], 2 * c[0][..., 2:] - u[1][..., 2:])


def test_numbers_may_be_tensors_without_dimensions():
    c, u = predictions(1), predictions(1)
    assert torch.equal(combined_epsilon(c, u, [torch.tensor(2.0)], [torch.tensor(1)]), combined_epsilon(c, u, [2], [1]))


def test_every_expert_is_guided_away_from_its_own_null():
    c, u = predictions(3), predictions(3)
    w, a = [2.0, -0.5, 1.5], [0.5, 0.2, 0.3]
    expected = sum(a[i] * u[i] + w[i] * (c[i] - u[i]) for i in range(3))
    torch.testing.assert_close(own_null_epsilon(c, u, w, a), expected)


def test_as_a_step_of_guidance_it_is_the_same():
    c, u = predictions(2), predictions(2)
    w, a = [3.0, -0.5], [0.25, 0.75]
    guided, unconditional = own_null_pair(c, u, Coefficients(w, a, 2.5))
    torch.testing.assert_close(unconditional, 0.25 * u[0] + 0.75 * u[1])
    torch.testing.assert_close(unconditional + 2.5 * (guided - unconditional), own_null_epsilon(c, u, w, a))
    guided, unconditional = own_null_pair(c[:1], u[:1], Coefficients([7.3], [1.0], 7.3))
    assert torch.equal(guided, c[0])
    assert torch.equal(unconditional, u[0])


def test_nulls_that_cancel_are_not_asked_for():
    c = predictions(2)
    left = torch.tensor([1.0, 1.0, 0.0, 0.0])
    for w in ([0.25, 0.75], [left, 1 - left]):
        torch.testing.assert_close(own_null_epsilon(c, [None] * 2, w, w), w[0] * c[0] + w[1] * c[1])
    with pytest.raises(ValueError, match="null 0"):  # W = 1 is not enough: the nulls differ
        own_null_epsilon(c, [None] * 2, [0.5, 0.5], [0.25, 0.75])


def test_a_null_that_cancels_is_not_asked_for_beside_one_that_does_not():
    c, u = predictions(2), predictions(2)
    w, a = [2.0, 0.5], [0.5, 0.5]
    expected = own_null_epsilon(c, u, w, a)
    torch.testing.assert_close(own_null_epsilon(c, [u[0], None], w, a), expected)
    guided, unconditional = own_null_pair(c, [u[0], None], Coefficients(w, a, 2.5))
    torch.testing.assert_close(unconditional + 2.5 * (guided - unconditional), expected)


def test_a_null_counts_for_its_weight_as_for_its_reliability():
    c, u = predictions(2), predictions(2)
    with pytest.raises(ValueError, match="null 1"):
        own_null_epsilon(c, [u[0], None], [1.0, 1.0], [1.0, 0.0])
    own_null_epsilon([c[0], None], [u[0], None], [2.0, 0.0], [1.0, 0.0])


X = torch.zeros(1, 3, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], [], []), "per expert and got 0, 0, 0 and 0"),
        (([X], [X], [1, 1], [1]), "per expert and got 1, 1, 2 and 1"),
        (([X], [X[..., :2]], [2], [1]), "predictions of one shape"),
        (([None], [None], [0], [1]), "none at all"),
        (([X, None], [X, X], [1, 1], [1, 0]), "under condition 1.*got None"),
        (([X, X], [X, None], [1, 1], [0.5, 0.5]), "under null 1.*got None"),
        (([X], [X], [2], [0.5]), "sum to 1 and got a sum of 0.5"),
        (([X], [X], [2], [1 + 2e-6]), "sum to 1"),
        (([X], [X], [2], [torch.full((4, 4), 0.9)]), "sum to 1 and got a sum of 0.9"),
        (([X], [X], [torch.full((4, 4), 2.0)], [0.9]), "sum to 1 and got a sum of 0.9"),
        (([X], [X], [math.nan], [1]), "weight 0 to be finite"),
        (([X], [X], [2], [math.inf]), "reliability 0 to be finite"),
        (([X], [X], [torch.full((4, 4), math.nan)], [1]), "weight 0 to be finite everywhere"),
        (([X], [X], [torch.ones(5, 5)], [1]), r"weight 0 to broadcast.*\(1, 3, 4, 4\) and got \(5, 5\)"),
        (([X], [X], [torch.ones(2, 1, 4, 4)], [1]), "weight 0 to broadcast"),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_refusals(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(*arguments)


def test_a_sum_within_the_tolerance_passes():
    assert combined_epsilon([X], [X], [2], [1 + 5e-7]).shape == X.shape
    # Where the weights sum to 1 nobody asks, not even at single places of a map.
    half = torch.tensor([1.0, 1.0, 2.0, 2.0])
    assert combined_epsilon([X], [X], [half], [half - 1]).shape == X.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", RULES)
def test_maps_sum_to_1_for_predictions_in_half_precision(rule, dtype):
    third = torch.full((4, 4), 1 / 3)
    c, u = ([x.to(dtype) for x in predictions(3)] for _ in range(2))
    found = rule(c, u, [2.0, third, -1.0], [third] * 3)
    exact = rule([x.double() for x in c], [x.double() for x in u], [2.0, third, -1.0], [third] * 3)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=2**-7, atol=2**-7)
    with pytest.raises(ValueError, match=r"got a sum of 1\.0001"):
        rule(c, u, [2.0, 0.0, 0.0], [third + 1e-4, third, third])


@pytest.mark.parametrize("rule", RULES)
def test_weights_can_be_learned(rule):
    weight = torch.tensor(2.0, requires_grad=True)
    c, u = ([x.detach() for x in predictions(2)] for _ in range(2))
    (gradient,) = torch.autograd.grad(rule(c, u, [weight, 1.0], [0.5, 0.5]).sum(), weight)
    null = u[0] if rule is own_null_epsilon else (u[0] + u[1]) / 2
    torch.testing.assert_close(gradient, (c[0] - null).sum().to(gradient))


def test_reliabilities_follow_the_masks():
    left = torch.tensor([1.0, 0.5, 0.0, 0.0])
    none = torch.zeros(4)
    shares = torch.stack(normalize_reliabilities([1.0, 3.0], [left, torch.tensor([0.0, 0.5, 1.0, 0.0])]))
    torch.testing.assert_close(shares, torch.tensor([[1, 0.25, 0, 0.25], [0, 0.75, 1, 0.75]]))
    shares = torch.stack(normalize_reliabilities([1.0, 1.0], [none, None]))
    torch.testing.assert_close(shares, torch.tensor([[0.0] * 4, [1.0] * 4]))


@pytest.mark.parametrize("reliabilities", [[0, 0], [-1, 2], [math.nan, 1], [math.inf, 1], []])
def test_reliabilities_that_cannot_be_shared(reliabilities):
    with pytest.raises(ValueError, match="positive sum"):
        normalize_reliabilities(reliabilities, [None] * len(reliabilities))


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


def test_a_null_that_is_wanted_is_asked_outside_the_guidance_interval():
    """CFG++ steps from U there, too."""
    combination = Combination(
        terms=settings((3.0, 1.0), (1.0, 3.0)),
        rule=EQ10,
        masks=[None, None],
        methods=[GuidanceInterval(Span(end=0.5), lambda share: 1.0 - share)],
    )
    inside, outside = (plan_product(combination, Moment((0, 1), (1.0, 1.0), (phase,), True)) for phase in (True, False))
    assert (inside.nulls, inside.weights, inside.reliabilities) == ((0, 1), [3.0, 1.0], [0.25, 0.75])
    assert (outside.nulls, outside.weights, outside.reliabilities) == ((0, 1), [0.75, 0.25], [0.25, 0.75])
    assert plan_product(combination, Moment((0, 1), (1.0, 1.0), (False,))).nulls == ()


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

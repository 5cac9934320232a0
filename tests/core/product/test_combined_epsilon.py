"""Eq. 10 and the own-null rule as functions: their identities, and what they refuse."""

import math

import pytest
import torch

from mcdm_core import PREDICTIONS, combined_epsilon, normalize_reliabilities, own_null_epsilon
from mcdm_core.diffusion.prediction import output_from_x0
from mcdm_core.product.rules.coefficients import Coefficients
from mcdm_core.product.rules.own_null import own_null_pair

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


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_every_parameterization_gives_the_same_answer(name, rule):
    x0s, nulls = predictions(3), predictions(3)
    x_t, alpha, sigma = torch.randn(2, 3, 4, 4, dtype=torch.float64), 0.6, 0.8
    w, a = [3.0, -1.0, 2.0], [0.5, 0.25, 0.25]
    outputs = [[output_from_x0(PREDICTIONS[name], x0, x_t, alpha, sigma) for x0 in group] for group in (x0s, nulls)]
    combined = PREDICTIONS[name].to_x0(rule(*outputs, w, a), x_t, alpha, sigma)
    torch.testing.assert_close(combined, rule(x0s, nulls, w, a))


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


def test_reliabilities_are_normalized():
    assert normalize_reliabilities([5, 4, 0], [None] * 3) == pytest.approx([5 / 9, 4 / 9, 0])


def test_reliabilities_follow_the_masks():
    left = torch.tensor([1.0, 0.5, 0.0, 0.0])
    none = torch.zeros(4)
    shares = torch.stack(normalize_reliabilities([1.0, 3.0], [left, torch.tensor([0.0, 0.5, 1.0, 0.0])]))
    torch.testing.assert_close(shares, torch.tensor([[1, 0.25, 0, 0.25], [0, 0.75, 1, 0.75]]))
    shares = torch.stack(normalize_reliabilities([1.0, 1.0], [none, None]))
    torch.testing.assert_close(shares, torch.tensor([[0.0] * 4, [1.0] * 4]))


@pytest.mark.parametrize("reliabilities", [[0, 0], [-1, 2], [math.nan, 1], [math.inf, 1]])
def test_reliabilities_that_cannot_be_shared(reliabilities):
    with pytest.raises(ValueError, match="positive sum"):
        normalize_reliabilities(reliabilities, [None, None])

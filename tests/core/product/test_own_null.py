"""The own-null rule as a function: its identities, and what it refuses."""

import pytest
import torch

from mcdm_core import combined_epsilon, own_null_epsilon
from mcdm_core.product.rules.coefficients import Coefficients
from mcdm_core.product.rules.own_null import own_null_pair


def predictions(count: int) -> list[torch.Tensor]:
    return list(torch.randn(count, 2, 3, 4, 4, dtype=torch.float64))


def test_every_expert_is_guided_away_from_its_own_null():
    c, u = predictions(3), predictions(3)
    w, a = [2.0, -0.5, 1.5], [0.5, 0.2, 0.3]
    expected = sum(a[i] * u[i] + w[i] * (c[i] - u[i]) for i in range(3))
    torch.testing.assert_close(own_null_epsilon(c, u, w, a), expected)


def test_with_one_null_it_is_equation_10():
    c, u = predictions(3), predictions(1) * 3
    w, a = [2.0, -0.5, 1.5], [0.5, 0.2, 0.3]
    torch.testing.assert_close(own_null_epsilon(c, u, w, a), combined_epsilon(c, u, w, a))
    own = predictions(3)
    assert not torch.allclose(own_null_epsilon(c, own, w, a), combined_epsilon(c, own, w, a), atol=0.1)


def test_with_weights_in_proportion_to_reliabilities_it_is_equation_10():
    c, u, a = predictions(3), predictions(3), [0.5, 0.2, 0.3]
    for total in (0.7, 1.0, 6.0):
        w = [total * share for share in a]
        torch.testing.assert_close(own_null_epsilon(c, u, w, a), combined_epsilon(c, u, w, a))


def test_as_a_step_of_guidance_it_is_the_same():
    c, u = predictions(2), predictions(2)
    w, a = [3.0, -0.5], [0.25, 0.75]
    guided, unconditional = own_null_pair(c, u, Coefficients(w, a, 2.5))
    torch.testing.assert_close(unconditional, 0.25 * u[0] + 0.75 * u[1])
    torch.testing.assert_close(unconditional + 2.5 * (guided - unconditional), own_null_epsilon(c, u, w, a))
    guided, unconditional = own_null_pair(c[:1], u[:1], Coefficients([7.3], [1.0], 7.3))
    assert torch.equal(guided, c[0])
    assert torch.equal(unconditional, u[0])


def test_maps_act_place_by_place():
    c, u = predictions(2), predictions(2)
    left = torch.tensor([1.0, 1.0, 0.0, 0.0])
    combined = own_null_epsilon(c, u, [3.0 * left, 2.0 * (1 - left)], [left, 1 - left])
    apart = [u_i + w * (c_i - u_i) for c_i, u_i, w in zip(c, u, (3.0, 2.0), strict=True)]
    torch.testing.assert_close(combined, left * apart[0] + (1 - left) * apart[1])


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


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"cond": [None, None]}, "condition 0"),
        ({"weights": [1.0]}, "per expert"),
        ({"weights": [float("nan"), 1.0]}, "weight 0 to be finite"),
        ({"reliabilities": [0.5, 0.6]}, "sum to 1"),
        ({"null": [torch.zeros(2, 3, 4, 5)] * 2}, "one shape"),
    ],
)
def test_what_cannot_be_combined_is_refused(change, match):
    inputs = {"cond": predictions(2), "null": predictions(2), "weights": [1.0, 2.0], "reliabilities": [0.5, 0.5]}
    with pytest.raises(ValueError, match=match):
        own_null_epsilon(**{**inputs, **change})

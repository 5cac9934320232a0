"""Who counts where, which predictions that takes, and Eq. 10 in the form of guidance."""

from types import SimpleNamespace

import pytest
import torch

from mcdm_core import combined_epsilon
from mcdm_core.product.coefficients import coefficients_of, warn_of_uncovered
from mcdm_core.product.eq10 import guidance_form

LEFT = torch.tensor([1.0, 1.0, 0.0, 0.0])
NAMES = ["first", "second"]


def factors(*pairs):
    return [SimpleNamespace(weight=weight, reliability=reliability) for weight, reliability in pairs]


def test_a_null_counts_only_where_the_weights_do_not_sum_to_1():
    pair = factors((1.0, 1.0), (3.0, 1.0))
    found = coefficients_of(pair, (0, 1), [LEFT, 1 - LEFT], NAMES)
    assert found.conditions == [0, 1]
    assert found.nulls == [1]
    assert coefficients_of(pair, (0, 1), [LEFT, 1 - LEFT], NAMES, want_null=True).nulls == [0, 1]
    assert coefficients_of(pair, (0, 1), [None, None], NAMES).nulls == [0, 1]
    assert coefficients_of(pair, (0,), [None, None], NAMES).nulls == []


def test_experts_without_a_say_are_not_asked():
    found = coefficients_of(factors((0.0, 2.0), (3.0, 0.0)), (0, 1), [None, None], NAMES)
    assert (found.conditions, found.nulls, found.reliabilities) == ([1], [0], [1.0, 0.0])
    inactive = coefficients_of(factors((2.0, 1.0), (3.0, 1.0)), (1,), [None, None], NAMES)
    assert (inactive.weights, inactive.conditions, inactive.nulls) == ([0.0, 3.0], [1], [1])


def test_reliabilities_that_are_all_0_are_refused_by_name():
    pair = factors((1.0, 1.0), (3.0, 0.0))
    with pytest.raises(ValueError, match=r"got 0 for second; raise .* or let the weights sum to 1"):
        coefficients_of(pair, (1,), [None, None], NAMES)
    for weight in (1.0, 2.0):
        with pytest.raises(ValueError, match=r"got 0 for first; raise .* whatever the weights sum to"):
            coefficients_of(factors((weight, 0.0), (0.0, 1.0)), (0,), [None, None], NAMES, want_null=True)


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
    pair = factors(*((weight, 1.0) for weight in weights))
    assert warn_of_uncovered(pair, (0, 1), masks) is bool(said)
    assert [record.getMessage().partition(" of the picture; ")[0] for record in caplog.records] == said
    caplog.clear()
    assert not warn_of_uncovered(pair, (1,), (LEFT, None))


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
def test_guidance_form_is_the_rule(weights, scale):
    generator = torch.Generator().manual_seed(0)
    cond, null = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64).unbind(0)
    shares = [0.3, 0.7]
    expected = combined_epsilon(list(cond), list(null), weights, shares)
    target, u = guidance_form(list(cond), list(null), weights, shares, scale)
    torch.testing.assert_close(u + scale * (target - u), expected)


def test_guidance_form_does_without_nulls_that_do_not_count():
    cond, null = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind(0)
    weights, shares = [LEFT, 3.0 * (1 - LEFT)], [LEFT, 1 - LEFT]
    expected = combined_epsilon(list(cond), list(null), weights, shares)
    target, u = guidance_form(list(cond), [None, null[1]], weights, shares, 3.0)
    torch.testing.assert_close(u + 3.0 * (target - u), expected)
    torch.testing.assert_close(u[..., :2], target[..., :2])  # hooks see no guidance where there is none


def test_guidance_form_of_one_expert_is_exact():
    cond, null = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    target, u = guidance_form([cond], [null], [3.7], [1.0], 3.7)
    assert torch.equal(target, cond)
    assert torch.equal(u, null)

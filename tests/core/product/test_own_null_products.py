"""Products by the own-null rule: what they evaluate, and that it is the rule."""

import pytest
import torch

from mcdm_core import OWN_NULL, ProductDenoiser, Term, own_null_epsilon, sample_product
from studies.gaussian import gaussian_expert, label

from ...support.gaussians import recorded, samples

MEANS, VARIANCES = [-1.0, 1.5, 0.2], [0.3, 0.8, 2.0]
X = samples(3.0, -1.0)
SIGMA = 2.0
NULLS = label(2), label(0)


@pytest.fixture
def pair():
    return [recorded(gaussian_expert(MEANS, VARIANCES, name=name)) for name in ("first", "second")]


def terms_of(pair, weights, reliabilities, nulls=NULLS):
    rows = zip(pair, (label(0), label(1)), nulls, weights, reliabilities, strict=True)
    return [Term(expert, condition, null, weight=w, reliability=a) for expert, condition, null, w, a in rows]


def own_null(terms):
    return ProductDenoiser(terms, rule=OWN_NULL)


@pytest.mark.parametrize(
    ("weights", "reliabilities"), [((2.0, 3.0), (1.0, 3.0)), ((-0.5, 0.5), (1.0, 0.0)), ((0.5, 0.5), (1.0, 3.0))]
)
def test_it_is_the_rule_on_predictions_made_one_by_one(weights, reliabilities, pair):
    cond = [expert.predict_x0(X, SIGMA, label(k)) for expert, k in zip(pair, (0, 1), strict=True)]
    null = [expert.predict_x0(X, SIGMA, label(k)) for expert, k in zip(pair, (2, 0), strict=True)]
    shares = [a / sum(reliabilities) for a in reliabilities]
    expected = own_null_epsilon(cond, null, weights, shares)
    terms = terms_of(pair, weights, reliabilities)
    torch.testing.assert_close(own_null(terms)(X, SIGMA), expected)
    assert not torch.allclose(ProductDenoiser(terms)(X, SIGMA), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("weights", "reliabilities", "rows"),
    [
        ((2.0, 2.0), (1.0, 1.0), (4, 4)),
        ((0.5, 2.0), (1.0, 1.0), (2, 4)),  # its null cancels: a = w
        ((0.5, 0.5), (1.0, 1.0), (2, 2)),
        ((0.25, 0.75), (1.0, 1.0), (4, 4)),  # weights that sum to 1 are not enough
        ((1.0, 1.0), (1.0, 0.0), (2, 4)),  # a null counts for its weight too
        ((0.0, 2.0), (1.0, 1.0), (2, 4)),
        ((0.0, 2.0), (0.0, 1.0), (0, 4)),
    ],
)
def test_only_nulls_that_enter_are_evaluated(weights, reliabilities, rows, pair):
    own_null(terms_of(pair, weights, reliabilities))(X, SIGMA)
    assert tuple(sum(expert.network.batches) for expert in pair) == rows


@pytest.mark.parametrize(
    ("weights", "rows"),
    [((0.7, 0.3), 4), ((0.7, 0.4), 6), ((2.0, -1.0), 4), ((0.5, 0.5), 4)],
)
def test_a_shared_null_is_evaluated_only_where_it_counts_for_all_that_share_it(weights, rows):
    one = recorded(gaussian_expert(MEANS, VARIANCES))
    cond, null = [one.predict_x0(X, SIGMA, label(k)) for k in (0, 1)], [one.predict_x0(X, SIGMA, label(2))] * 2
    one.network.batches.clear()
    denoised = own_null(terms_of([one, one], weights, (1.0, 1.0), (label(2), label(2))))(X, SIGMA)
    torch.testing.assert_close(denoised, own_null_epsilon(cond, null, weights, (0.5, 0.5)))
    assert sum(one.network.batches) == rows


def test_a_missing_null_is_refused_before_the_run(pair):
    terms = terms_of(pair, (0.5, 0.5), (1.0, 3.0), (None, None))
    with pytest.raises(
        ValueError, match=r"First needs a negative, because its weight is 0.5 and its reliability 1\. Give"
    ):
        sample_product(terms, X, "10", rule=OWN_NULL)
    with pytest.raises(
        ValueError, match=r"Second needs a negative, because its weight is 1 and its reliability 0\. Give"
    ):
        own_null(terms_of(pair, (1.0, 1.0), (1.0, 0.0), (None, None)))(X, SIGMA)
    with pytest.raises(ValueError, match="positive sum and got 0 for first, second"):
        own_null(terms_of(pair, (0.5, 0.5), (0.0, 0.0)))(X, SIGMA)
    assert [expert.network.batches for expert in pair] == [[], []]
    sample_product(terms_of(pair, (0.25, 0.75), (1.0, 3.0), (None, None)), X, "2", rule=OWN_NULL)

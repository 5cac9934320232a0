"""What experts count in a step that leaves them equally likely, against the step itself."""

import math

import pytest
import torch
from torch import Tensor

from mcdm_core.product.equal import equal_density_weights


def solved(means: Tensor, rest: Tensor, gaps: Tensor, strength: Tensor, farthest: float = 1e9) -> tuple[Tensor, Tensor]:
    """ω, shape (B, n), and x', shape (B, V), for means of shape (B, n, V)."""
    deviations = means - means.mean(1, keepdim=True)
    products = torch.einsum("biv,bjv->bij", deviations, deviations)
    shares = equal_density_weights(products, torch.einsum("biv,bv->bi", deviations, rest), gaps, strength, farthest)
    moved = strength[:, None] * torch.einsum("bi,biv->bv", shares, deviations)
    return shares, means.mean(1) + moved + rest


@pytest.mark.parametrize("count", [1, 2, 4])
def test_all_gain_what_they_lacked(count):
    generator = torch.Generator().manual_seed(1)
    means, rest, gaps = (
        torch.randn(3, *shape, dtype=torch.float64, generator=generator) for shape in [(count, 7), (7,), (count,)]
    )
    shares, after = solved(means, rest, gaps, torch.tensor([1.0, 1.7, 3.0], dtype=torch.float64))
    gained = gaps - (after[:, None] - means).square().sum(2) / 2
    torch.testing.assert_close(gained, gained[:, :1].expand(-1, count))
    torch.testing.assert_close(shares.sum(1), torch.ones(3, dtype=torch.float64))


def test_two_experts_meet_in_the_middle_whatever_was_drawn():
    means = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    rest, alike = torch.tensor([[0.3, 5.0]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    shares, after = solved(means, rest, alike, torch.ones(1, dtype=torch.float64))
    assert shares[0].tolist() == pytest.approx([0.65, 0.35])
    assert after[0].tolist() == pytest.approx([0.0, 5.0])


def test_who_lags_behind_counts_more():
    means = torch.tensor([[[-1.0], [1.0]]], dtype=torch.float64)
    rest, gaps = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([[-0.2, 0.0]], dtype=torch.float64)
    shares, _ = solved(means, rest, gaps, torch.ones(1, dtype=torch.float64))
    assert shares[0].tolist() == pytest.approx([0.55, 0.45])


@pytest.mark.parametrize("rounding", [0.0, 1e-5])
def test_experts_that_agree_count_alike(rounding):
    """Though nothing they count could make up for a gap between them."""
    one, other = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 0.5]], dtype=torch.float64)
    means = torch.stack([one, one + rounding, other])[None]
    rest, gaps = torch.full((1, 3), 0.3, dtype=torch.float64), torch.tensor([[0.4, -0.4, 0.1]], dtype=torch.float64)
    ones = torch.ones(1, dtype=torch.float64)
    shares, after = solved(means, rest, gaps, ones)
    assert shares[0, 0].item() == pytest.approx(shares[0, 1].item(), abs=1e-3)
    pair = gaps[0, :2].mean() - (after[0] - one).square().sum() / 2
    assert pair.item() == pytest.approx((gaps[0, 2] - (after[0] - other).square().sum() / 2).item(), abs=1e-4)
    assert solved(means[:, :1].expand(-1, 3, -1), rest, gaps, ones)[0][0].tolist() == pytest.approx([1 / 3] * 3)


def test_a_point_that_is_too_far_is_approached():
    """Between two that are .02 apart, of which one lags behind, and three that are all but in a line."""
    rest, alike, ones = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 3), torch.ones(1, dtype=torch.float64)
    near = torch.tensor([[[-0.01, 0.0], [0.01, 0.0]]], dtype=torch.float64)
    lagging, noise = torch.tensor([[-0.4, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 0.3]], dtype=torch.float64)
    assert solved(near, noise, lagging, ones)[1][0].tolist() == pytest.approx([-20.0, 0.3])
    assert solved(near, noise, lagging, ones, farthest=2.0)[1][0].tolist() == pytest.approx([-2.01, 0.3])
    line = torch.tensor([[[-1.0, 0.0], [0.0, 0.06], [1.0, 0.0]]], dtype=torch.float64)
    assert solved(line, rest, alike, ones)[1][0].tolist() == pytest.approx([0.0, 0.03 - 1 / 0.12])
    bounded = solved(line, rest, alike, ones, farthest=0.5)[1][0]
    assert bounded.tolist() == pytest.approx([0.0, 0.02 - 0.5 - math.hypot(1.0, 0.02)])

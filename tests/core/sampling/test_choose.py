"""Lift scores against Gaussians, where the expectation over the noise is known."""

import dataclasses
import math
from itertools import pairwise

import pytest
import torch

from mcdm_core import Term
from mcdm_core.expert.gaussian import gaussian_expert, label
from mcdm_core.product.lifts import Lifts, least_lifts
from mcdm_core.sampling import choose, measure_lifts
from mcdm_core.sampling.choose import level_progress, sigmas_of

from ...support.gaussians import recorded, samples

MEANS, VARIANCES = [-1.0, 1.5, 0.2], [0.3, 0.8, 2.0]


def terms(**settings: object) -> list[Term]:
    expert = gaussian_expert(MEANS, VARIANCES)
    return [Term(expert, label(k), label(2), **settings) for k in range(2)]


def expected_lift(x0: float, k: int, sigma: float) -> float:
    """‖x0 − D‖²/σ² is (1 − g)²(x0 − μ)²/σ² + g² on average over the noise, with g = s/(s + σ²)."""
    errors = []
    for i in (2, k):
        g = VARIANCES[i] / (VARIANCES[i] + sigma**2)
        errors.append((1 - g) ** 2 * (x0 - MEANS[i]) ** 2 / sigma**2 + g**2)
    return errors[0] - errors[1]


def test_lifts_are_those_expected():
    """Each of 20 000 pixels is noised by itself; all have one value."""
    levels, count = 4, 20_000
    x0 = samples(-1.5, 0.1, 1.2).expand(3, 1, 1, count)
    found = measure_lifts(terms(), x0, levels, torch.Generator().manual_seed(0))
    sigmas = sigmas_of(terms()[0].expert.schedule, levels)
    assert found.shape == (3, 2)
    for i, value in enumerate((-1.5, 0.1, 1.2)):
        for k in range(2):
            expected = sum(expected_lift(value, k, sigma) for sigma in sigmas) / levels
            assert found[i, k].item() == pytest.approx(expected, abs=0.01)


def test_brute_force():
    """Two pictures of three values, two levels, in plain loops."""
    generator, pictures = torch.Generator().manual_seed(6), [[0.3, -0.8, 1.1], [2.0, 0.0, -1.0]]
    x0 = torch.tensor(pictures, dtype=torch.float64).reshape(2, 1, 1, 3)
    found = measure_lifts(terms(), x0, 2, generator)
    generator = torch.Generator().manual_seed(6)
    sums = [[0.0, 0.0], [0.0, 0.0]]
    for sigma in sigmas_of(terms()[0].expert.schedule, 2):
        z = torch.randn(1, 1, 3, dtype=torch.float64, generator=generator).flatten().tolist()
        for i, picture in enumerate(pictures):
            for k in range(2):
                for value, n in zip(picture, z, strict=True):
                    errors = []
                    for of in (2, k):
                        g = VARIANCES[of] / (VARIANCES[of] + sigma**2)
                        predicted = MEANS[of] + g * (value + sigma * n - MEANS[of])
                        errors.append(((value + sigma * n - predicted) / sigma - n) ** 2)
                    sums[i][k] += (errors[0] - errors[1]) / 3 / 2
    torch.testing.assert_close(found, torch.tensor(sums, dtype=torch.float64), atol=1e-6, rtol=1e-4)


def test_samples_that_all_experts_lift_are_kept():
    lifts = torch.tensor([[0.5, -0.1], [0.2, 0.3], [0.9, 0.1], [-2.0, 5.0], [0.2, 0.2]])
    assert choose(lifts, 3).tolist() == [1, 4, 2]
    assert choose(lifts, 5).tolist() == [1, 4, 2, 0, 3]


def test_what_was_sampled_of_the_product_is_lifted_higher_than_of_one_expert():
    x0 = samples(*(-0.4, -2.5, 3.0, 0.3))
    lifts = measure_lifts(terms(), x0.expand(4, 1, 64, 64), 8, torch.Generator().manual_seed(2))
    assert choose(lifts, 2).sort().values.tolist() == [0, 3]


def test_an_expert_counts_in_its_mask_and_turns_with_its_weight():
    x0 = torch.cat([samples(-1.0), samples(4.0)], dim=-1).expand(2, 1, 512, 2)
    mask = torch.tensor([[1.0, 0.0]]).expand(512, 2)

    def measured(**settings: object) -> float:
        return measure_lifts(terms(**settings)[:1], x0, 4, torch.Generator().manual_seed(1))[0, 0].item()

    here, everywhere = measured(mask=mask), measured()
    assert here > 0 > everywhere
    assert measured(mask=mask, weight=-2.0) == pytest.approx(-here)


def test_pictures_outside_an_experts_mask_are_chosen_as_without_it():
    x0, masks = samples(-1.0, 4.0).expand(2, 1, 8, 8), torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])
    one, other = terms()
    both, alone = (
        measure_lifts(of, x0, 4, torch.Generator().manual_seed(1))
        for of in ([one, dataclasses.replace(other, mask=masks)], [one])
    )
    assert torch.equal(both[:, 0], alone[:, 0])
    assert both[0, 1] == math.inf
    assert both[1, 1].isfinite()


def test_a_picture_that_every_mask_leaves_out_is_chosen_last():
    masks = torch.stack([torch.zeros(8, 8), torch.ones(8, 8), torch.ones(8, 8)])
    for count in (1, 2):
        experts = [dataclasses.replace(term, mask=masks) for term in terms()[:count]]
        lifts = measure_lifts(experts, samples(0.0, -9.0, 9.0).expand(3, 1, 8, 8), 4)
        assert (lifts[0] == math.inf).all()
        assert choose(lifts, 3)[-1] == 0
        assert least_lifts(lifts).tolist() == [-math.inf, *lifts[1:].amin(1).tolist()]


def test_an_expert_is_asked_in_its_window():
    expert = recorded(gaussian_expert(MEANS, VARIANCES))
    term = Term(expert, label(0), label(2), end=0.5)
    measure_lifts([term], samples(0.0, 1.0), 4)
    kept = sigmas_of(expert.schedule, 4)[:2]
    assert expert.network.levels == pytest.approx([kept[0]] * 2 + [kept[1]] * 2, rel=1e-3)


def test_levels_are_even_and_not_at_the_ends():
    assert level_progress(4) == [0.125, 0.375, 0.625, 0.875]
    sigmas = sigmas_of(gaussian_expert(MEANS, VARIANCES).schedule, 5)
    assert all(first > second > 0 for first, second in pairwise(sigmas))


def test_a_lift_is_per_value():
    x0, better, worse = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1), torch.full((1, 3, 4, 4), 0.3)
    lifts = Lifts(terms()[:1], of_noise=True)
    lifts.add(0, better, worse, 2.0)
    assert lifts.of(x0).item() == pytest.approx((0.09 - 0.01) / 4)


@pytest.mark.parametrize(
    ("count", "batch", "message"),
    [
        (1, 1, "at least 2 samples to choose from and got 1; raise"),
        (4, 3, "from 1 to all 3 samples and got 4; lower"),
        (0, 3, "from 1 to all 3 samples and got 0; lower"),
    ],
)
def test_choices_that_are_none(count, batch, message):
    with pytest.raises(ValueError, match=message):
        choose(torch.zeros(batch, 2), count)


def test_refusals():
    expert = gaussian_expert(MEANS, VARIANCES)
    with pytest.raises(ValueError, match=r"Gauss needs a negative.*\. Give"):
        measure_lifts([Term(expert, label(0))], samples(0.0, 1.0))
    with pytest.raises(ValueError, match="weight is not 0 to choose by and got none; raise"):
        measure_lifts([Term(expert, None, label(2), weight=0.0)], samples(0.0, 1.0))
    with pytest.raises(ValueError, match="level at which gauss is asked its condition and its null"):
        measure_lifts([Term(expert, label(0), label(2), end=0.1)], samples(0.0, 1.0), 2)
    with pytest.raises(ValueError, match="finite samples and predictions of gauss to choose by"):
        measure_lifts(terms(), samples(0.0, math.nan), 2)

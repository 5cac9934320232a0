"""Products of several spaces that are all at one noise level."""

from dataclasses import replace

import pytest
import torch

from mcdm_core import Term, sample_product
from mcdm_core.sampling.ddim import DDIM
from studies.evaluation.equal_scales import sample_at_equal_scales
from studies.gaussian import gaussian_expert, label, wide_schedule

from ...support.gaussians import recorded


def rng():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def noise():
    return torch.randn(2, 1, 32, 32, generator=rng(), dtype=torch.float64)


@pytest.fixture
def terms():
    """Experts on pictures of two sizes, with schedules that end at the noise level of each."""
    found = []
    for size, most in ((32, 100.0), (64, 1000.0)):
        gaussians = recorded(gaussian_expert([0.5, 0.0], [1.0, 1.0], wide_schedule(sigma_max=most)))
        found.append(Term(replace(gaussians, image_size=size, clamp_x0=True), label(0), label(1), weight=2.0))
    return found


@pytest.mark.parametrize(
    ("sample", "ratio"),
    [
        pytest.param(lambda *run: sample_product(*run[:3], sampler=DDIM(1.0), generator=run[3]), 2.0, id="as shipped"),
        pytest.param(lambda *run: sample_at_equal_scales(*run, eta=1.0), 1.0, id="equal"),
    ],
)
def test_equal_scales_ask_all_spaces_at_one_level(terms, noise, sample, ratio):
    sample(terms, noise, "3", rng())
    first, second = (term.expert.network.levels for term in terms)
    assert len(first) == 3
    assert second == pytest.approx([ratio * level for level in first])


def test_experts_of_one_space_are_refused(terms, noise):
    with pytest.raises(ValueError, match=r"^Expected experts of several spaces for `equal_scales` and got one space"):
        sample_at_equal_scales(terms[:1], noise, "1", rng(), eta=1.0)

"""A student that is asked at a weight, beside its own null."""

from dataclasses import replace

import pytest
import torch

from mcdm_core import Condition, ProductDenoiser, Term
from mcdm_core.distil.product import ExpertStudent
from mcdm_core.distil.run import distil_product

from ...support.distillation import MEANS, labels, make_config, make_student, make_terms

X = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SIGMA = torch.tensor([0.3, 1.0, 5.0], dtype=torch.float64)
PROMPTS = torch.tensor([2, 0, 1])


class NullIsLast:
    """An encoder whose null is the last label."""

    def null_like(self, condition):
        return Condition(labels=torch.full_like(condition.labels, 2))


def make_guided():
    student = make_student()
    student.encoder = NullIsLast()
    return student


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_it_answers_as_its_expert_does_at_that_weight(weight):
    student = make_guided()
    asked = ExpertStudent(student, labels(0, 1, 2), weight=weight)(student.network, X, SIGMA, PROMPTS)
    denoiser = ProductDenoiser([Term(student, labels(2, 0, 1), labels(2), weight=weight)])
    for row, sigma in enumerate(SIGMA.tolist()):
        torch.testing.assert_close(asked[row], denoiser(X, sigma)[row], rtol=1e-9, atol=1e-9)


def test_it_learns_at_that_weight(tmp_path):
    """What is learned then answers as the product at this weight, and not at 1."""
    student = make_guided()
    network = distil_product(make_terms(), student, labels(0, 1, 2), tmp_path, replace(make_config(400), weight=2.5))
    first, second, null = MEANS[[0, 1, 2]], MEANS[[1, 2, 0]], MEANS[3]
    expected = null + 1.5 * (first - null) + 0.75 * (second - null)
    means = network.mean.weight.T.detach()  # of the labels, the last of which is the null as well
    at = means[2] + 2.5 * (means - means[2])
    assert (at - expected).square().mean() < 0.05 * (means - expected).square().mean()

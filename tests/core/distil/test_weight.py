"""A student that is asked at a weight, beside its own null."""

from dataclasses import replace

import pytest
import torch

from mcdm_core import Condition, ProductDenoiser, Term
from mcdm_core.distil.product import ExpertStudent
from mcdm_core.distil.run import distil_product

from ...support.distillation import expected_means, labels, make_config, make_student, make_terms

X = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SIGMA = torch.tensor([0.3, 1.0, 5.0], dtype=torch.float64)
NULL = labels(2)
PROMPTS = torch.tensor([2, 0, 1])


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_it_answers_as_its_expert_does_at_that_weight(weight):
    student = make_student()
    asked = ExpertStudent(student, labels(0, 1, 2), null=NULL, weight=weight)(student.network, X, SIGMA, PROMPTS)
    denoiser = ProductDenoiser([Term(student, labels(2, 0, 1), NULL, weight=weight)])
    for row, sigma in enumerate(SIGMA.tolist()):
        torch.testing.assert_close(asked[row], denoiser(X, sigma)[row], rtol=1e-9, atol=1e-9)


def test_it_learns_at_that_weight(tmp_path):
    """What is learned then answers as the product at this weight, and not at 1."""
    config = replace(make_config(400), weight=2.5)
    network = distil_product(make_terms(), make_student(), labels(0, 1, 2), tmp_path, config, null=NULL)
    means = network.mean.weight.T.detach()  # of the labels, the last of which is the null as well
    at = means[2] + 2.5 * (means - means[2])
    assert (at - expected_means()).square().mean() < 0.05 * (means - expected_means()).square().mean()


@pytest.mark.parametrize(
    ("conditions", "null"),
    [
        (labels(0, 1, 2), None),
        (labels(0, 1, 2), labels(2, 2, 2)),
        (labels(0, 1, 2), Condition(maps=torch.zeros(1, 1, 1, 1))),
    ],
    ids=["none", "of each prompt", "of another kind"],
)
def test_a_weight_without_a_null_is_refused(tmp_path, conditions, null):
    with pytest.raises(ValueError, match=r"a null of one row of the same kind beside a weight of 4; pass both"):
        distil_product(
            make_terms(), make_student(), conditions, tmp_path, replace(make_config(), weight=4.0), null=null
        )
    assert not list(tmp_path.iterdir())

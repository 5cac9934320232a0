"""Choosing by lift scores, which `tests/core/product/test_lift_scores.py` measures."""

import math

import pytest
import torch

from mcdm_core.product.methods.lift_scores import least_scores
from mcdm_core.sampling import choose


def test_samples_that_all_experts_lift_are_kept():
    scores = torch.tensor([[0.5, -0.1], [0.2, 0.3], [0.9, 0.1], [-2.0, 5.0], [0.2, 0.2]])
    assert choose(scores, 3).tolist() == [1, 4, 2]
    assert choose(scores, 5).tolist() == [1, 4, 2, 0, 3]


def test_a_picture_that_every_mask_leaves_out_is_chosen_last():
    scores = torch.tensor([[math.inf, math.inf], [-9.0, math.inf], [0.5, 2.0]])
    assert choose(scores, 3).tolist() == [2, 1, 0]
    assert least_scores(scores).tolist() == [-math.inf, -9.0, 0.5]


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

"""Choosing by lifts, which `tests/core/product/test_lifts.py` measures."""

import math

import pytest
import torch

from mcdm_core.product.methods.lifts import least_lifts
from mcdm_core.sampling import choose


def test_samples_that_all_experts_lift_are_kept():
    lifts = torch.tensor([[0.5, -0.1], [0.2, 0.3], [0.9, 0.1], [-2.0, 5.0], [0.2, 0.2]])
    assert choose(lifts, 3).tolist() == [1, 4, 2]
    assert choose(lifts, 5).tolist() == [1, 4, 2, 0, 3]


def test_a_picture_that_every_mask_leaves_out_is_chosen_last():
    lifts = torch.tensor([[math.inf, math.inf], [-9.0, math.inf], [0.5, 2.0]])
    assert choose(lifts, 3).tolist() == [2, 1, 0]
    assert least_lifts(lifts).tolist() == [-math.inf, -9.0, 0.5]


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

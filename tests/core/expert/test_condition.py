"""What may share a batch, and what is null."""

import pytest
import torch

from mcdm_core import Condition
from mcdm_core.expert.condition import cat


def test_only_present_fields_reach_the_network():
    maps = torch.ones(1, 1, 4, 4)
    assert Condition().kwargs() == {}
    assert Condition(maps=maps).kwargs() == {"maps": maps}
    assert Condition(maps=maps, text_active=True).kwargs() == {"maps": maps, "text_active": True}
    assert Condition().rows is None


def test_null_keeps_the_fields_and_the_flag():
    null = Condition(maps=torch.ones(2, 1, 4, 4), embedding=torch.ones(2, 8), text_active=True).null()
    assert not null.maps.any()
    assert not null.embedding.any()
    assert null.text_active
    assert Condition().null().same_as(Condition())


@pytest.mark.parametrize(
    "condition",
    [
        Condition(labels=torch.tensor([1])),
        Condition(context=torch.ones(1, 4, 8), embedding=torch.ones(1, 8)),
        Condition(low_res=torch.ones(1, 3, 4, 4)),
    ],
)
def test_labels_tokens_and_small_pictures_have_no_zero_for_a_null(condition):
    with pytest.raises(ValueError, match="from the expert's encoder"):
        condition.null()


def test_rows_must_agree():
    with pytest.raises(ValueError, match=r"same number of rows.*\[1, 2\]"):
        Condition(maps=torch.ones(2, 1, 4, 4), embedding=torch.ones(1, 8))


def test_an_array_is_refused_where_a_tensor_is_wanted():
    with pytest.raises(ValueError, match="Expected a tensor as embedding of a condition and got list; convert it"):
        Condition(embedding=[[1.0, 2.0]])


def test_expand_repeats_one_row():
    condition = Condition(labels=torch.tensor([3])).expand(4)
    assert condition.labels.tolist() == [3] * 4
    assert condition.expand(4).rows == 4
    with pytest.raises(ValueError, match="a condition of 1 row and got 4"):
        condition.expand(1)
    with pytest.raises(ValueError, match="1 or 3 rows and got 4"):
        condition.expand(3)


def test_cat_stacks_what_may_share_a_batch():
    one, two = Condition(embedding=torch.zeros(1, 8)), Condition(embedding=torch.ones(2, 8))
    assert cat([one, two]).embedding[:, 0].tolist() == [0, 1, 1]
    for other in (
        Condition(embedding=torch.zeros(1, 8), text_active=True),
        Condition(),
        Condition(labels=torch.ones(1)),
    ):
        with pytest.raises(ValueError, match="share a batch"):
            cat([one, other])


def test_equality_by_value():
    one = Condition(maps=torch.zeros(1, 1, 4, 4))
    assert one.same_as(Condition(maps=torch.zeros(1, 1, 4, 4)))
    assert not one.same_as(Condition(maps=torch.ones(1, 1, 4, 4)))
    assert not one.same_as(Condition(maps=torch.zeros(2, 1, 4, 4)))
    assert not one.same_as(Condition(embedding=torch.zeros(1, 4)))


def test_only_floating_tensors_change_their_dtype():
    moved = Condition(labels=torch.tensor([1]), maps=torch.ones(1, 1, 4, 4)).to("cpu", torch.float64)
    assert (moved.labels.dtype, moved.maps.dtype) == (torch.int64, torch.float64)

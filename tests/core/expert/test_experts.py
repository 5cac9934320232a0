"""One expert: its form, its timestep, its rows; what may share a batch, and what is null."""

import pytest
import torch

from mcdm_core import PREDICTIONS, Condition, Expert, Schedule, Term
from mcdm_core.expert.condition import cat


class Recorder(torch.nn.Module):
    """Returns its input, and remembers how it was asked."""

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, **condition: torch.Tensor) -> torch.Tensor:
        self.x_t, self.t, self.condition = x_t, t, condition
        return x_t


def expert(schedule=None, **options) -> Expert:
    return Expert(Recorder(), schedule or Schedule.linear(), PREDICTIONS["x0"], image_size=8, **options)


def test_the_network_sees_its_own_form_at_a_fractional_timestep():
    one = expert()
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor([0.5, 3.0])
    one.predict_x0(x, sigma, Condition())
    torch.testing.assert_close(one.network.x_t, x / (1 + sigma.reshape(2, 1, 1, 1) ** 2).sqrt())
    torch.testing.assert_close(one.network.t, one.schedule.t(sigma))
    assert one.network.t.frac().all()


def test_one_row_of_condition_serves_the_whole_batch():
    one = expert()
    one.raw(torch.randn(4, 3, 8, 8), 10.0, Condition(embedding=torch.ones(1, 5, dtype=torch.float64)))
    assert one.network.condition["embedding"].shape == (4, 5)
    assert one.network.condition["embedding"].dtype == torch.float32
    assert one.network.t.tolist() == [10.0] * 4


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 8, 8)])
def test_samples_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"hair expects samples of shape \(B, 3, H, W\)"):
        expert(name="hair").raw(torch.zeros(shape), 1.0, Condition())


def test_it_says_what_it_is():
    assert repr(expert(name="hair")) == "Expert('hair', 8 px, x0-prediction)"
    assert expert().to("cpu").name == "expert"


@pytest.mark.parametrize("reads", [frozenset(), frozenset({"maps"}), frozenset({"maps", "labels"})])
def test_a_condition_that_the_network_would_ignore_is_refused(reads):
    one = expert(name="hair")
    one.network.reads = reads
    caption = Condition(embedding=torch.ones(1, 5))
    names = " or ".join(sorted(reads)) or "none"
    with pytest.raises(ValueError, match=rf"Expected a null that hair reads \({names}\) and got embedding, which it"):
        one.check_read(caption, "null")
    with pytest.raises(ValueError, match="Expected a condition that hair reads"):
        Term(one, caption)
    with pytest.raises(ValueError, match="Expected a null that hair reads"):
        Term(one, Condition(), caption)


def test_a_condition_is_refused_for_the_part_that_is_ignored():
    one = expert(name="hair")
    one.network.reads = frozenset({"maps"})
    with pytest.raises(ValueError, match="got embedding and context, which it would ignore"):
        one.check_read(Condition(maps=torch.ones(1, 1, 8, 8), embedding=torch.ones(1, 5), context=torch.ones(1, 2, 5)))


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

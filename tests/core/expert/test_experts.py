"""One expert: its form, its timestep, its rows."""

import pytest
import torch

from mcdm_core import PREDICTIONS, Condition, Expert, Flow, Schedule, Term


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


def test_a_flow_network_sees_the_flows_form():
    one = expert(Flow())
    x = torch.randn(1, 3, 8, 8)
    one.predict_x0(x, 3.0, Condition())
    torch.testing.assert_close(one.network.x_t, x / 4)
    assert one.network.t.tolist() == pytest.approx([750])


def test_one_row_of_condition_serves_the_whole_batch():
    one = expert()
    one.raw(torch.randn(4, 3, 8, 8), 10.0, Condition(embedding=torch.ones(1, 5, dtype=torch.float64)))
    assert one.network.condition["embedding"].shape == (4, 5)
    assert one.network.condition["embedding"].dtype == torch.float32
    assert one.network.t.tolist() == [10.0] * 4


def test_a_second_half_of_channels_is_the_variance():
    one = expert()
    one.network.forward = lambda x_t, t: torch.cat([x_t, torch.full_like(x_t, 0.25)], dim=1)
    x0, v = one.predict(torch.randn(1, 3, 8, 8), 1.0, Condition())
    assert x0.shape == v.shape
    assert (v == 0.25).all()


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


def test_conditions_that_the_network_reads_or_takes_as_they_are_pass():
    one = expert()
    caption = Condition(embedding=torch.ones(1, 5))
    one.check_read(caption)  # the network doesn't say what it reads
    one.network.reads = frozenset({"embedding"})
    one.check_read(caption)
    one.check_read(Condition())

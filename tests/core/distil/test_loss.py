"""Weights of noise levels."""

import pytest
import torch

from mcdm_core import PREDICTIONS, Flow, Schedule, prediction_named
from mcdm_core.diffusion.prediction import output_from_x0
from mcdm_core.distil.config import LossConfig
from mcdm_core.distil.loss import Loss

from ...support.distillation import make_student

SIGMAS = torch.tensor([0.05, 0.7, 3.0, 14.6], dtype=torch.float64)


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("schedule", [Schedule.linear(), Flow()], ids=["linear", "flow"])
def test_it_is_the_squared_error_of_what_is_predicted(name, schedule):
    """Of two predictions for one x_t."""
    student, teacher, noise = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    alpha_t = schedule.alpha(SIGMAS).view(-1, 1, 1, 1)
    sigma_t = alpha_t * SIGMAS.view(-1, 1, 1, 1)
    x_t = alpha_t * teacher + sigma_t * noise
    outputs = [output_from_x0(prediction_named(name), x0, x_t, alpha_t, sigma_t) for x0 in (student, teacher)]
    found = Loss(prediction_named(name), schedule, most=1e9)(student, teacher, SIGMAS)
    torch.testing.assert_close(found, (outputs[0] - outputs[1]).square().mean())


def test_weights_are_those_that_are_known():
    schedule = Schedule.linear()
    weights = {name: Loss(prediction_named(name), schedule, 1e9).weight(SIGMAS) for name in ("x0", "eps", "v")}
    torch.testing.assert_close(weights["x0"], torch.ones_like(SIGMAS))
    torch.testing.assert_close(weights["eps"], SIGMAS**-2)
    torch.testing.assert_close(weights["v"], 1 + SIGMAS**-2)
    assert 1 / weights["eps"][-1].item() == pytest.approx(213, abs=0.5)


def test_weights_are_bounded():
    weight = Loss(prediction_named("eps"), Schedule.linear(), 5.0).weight(SIGMAS)
    torch.testing.assert_close(weight, (SIGMAS**-2).clamp(max=5.0))


@pytest.mark.parametrize(("given", "compared"), [("", "v"), ("x0", "x0")])
def test_the_students_own_prediction_is_compared_unless_another_is_asked_for(given, compared):
    assert Loss.of(LossConfig(given), make_student("v")).prediction.name == compared

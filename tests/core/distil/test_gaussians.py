"""Losses, and a linear student that becomes the product of Gaussians of one variance, whose x0 has a closed form."""

import pytest
import torch

from mcdm_core import PREDICTIONS, Flow, Passes, Schedule, prediction_named
from mcdm_core.checkpoints.lora import save_lora, with_lora
from mcdm_core.diffusion.prediction import output_from_x0
from mcdm_core.distil.config import LearningConfig, LogsConfig, LossConfig, TrajectoryConfig
from mcdm_core.distil.loss import Loss
from mcdm_core.distil.run import distil_product

from ...support.distillation import (
    SCHEDULE,
    VARIANCE,
    expected_means,
    labels,
    make_config,
    make_student,
    make_terms,
)

LEARNING = {
    "optimizer": LearningConfig(steps=300, batch_size=8, learning_rate=3e-2, autocast=False),
    "trajectories": TrajectoryConfig(4, 8),
    "report": LogsConfig(every=50, held_out_every=0),
}


def farthest(student):
    """Largest difference between x0 of the student and of the product, at several noise levels."""
    differences = []
    for sigma in (0.02, 0.3, 1.0, 5.0, 80.0):
        x = expected_means()[..., None, None] + sigma * torch.randn(3, 2, 1, 1, dtype=torch.float64)
        mean = expected_means()[..., None, None]
        product = mean + VARIANCE / (VARIANCE + sigma**2) * (x - mean)
        differences.append((student.predict_x0(x, sigma, labels(0, 1, 2)) - product).abs().max().item())
    return max(differences)


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("prediction", "loss"), [("eps", ""), ("eps", "v"), ("v", ""), ("v", "x0"), ("x0", ""), ("flow", "")]
)
def test_a_linear_student_reaches_the_product(tmp_path, prediction, loss):
    student = make_student(prediction)
    config = make_config(**LEARNING, loss=LossConfig(loss))
    network = distil_product(make_terms(prediction), student, labels(0, 1, 2), tmp_path, config)
    assert farthest(student) > 0.3
    save_lora(tmp_path / "tiny.safetensors", network, {})
    with torch.no_grad():
        assert farthest(with_lora(student, tmp_path / "tiny.safetensors")) < 1e-3


def test_a_student_of_another_schedule_reaches_it_too(tmp_path):
    """It is asked at the product's noise levels."""
    student = make_student("v", Schedule.cosine())
    config = make_config(**LEARNING)
    network = distil_product(make_terms("eps", SCHEDULE), student, labels(0, 1, 2), tmp_path, config)
    assert (network.mean.weight.T - expected_means()).abs().max() < 1e-3


def test_a_student_that_cannot_be_the_product_comes_as_near_as_it_can(tmp_path):
    """Given one prompt for all, it becomes the mean of the products: the best x0, by squared error."""
    student = make_student("x0")
    config = make_config(**LEARNING, loss=LossConfig("x0"))
    before = farthest(student)
    network = distil_product(make_terms("x0"), student, labels(0), tmp_path, config)
    learned = network.mean.weight[:, 0]
    assert (learned - expected_means().mean(dim=0)).norm() < 0.3 < before


def test_what_passes_leave_out_is_what_the_student_learns(tmp_path):
    """Outside a guidance interval weights are divided by their sum: with the interval at no level, m = Σ w μ / Σ w."""
    terms, student = make_terms(), make_student()
    config = make_config(**LEARNING)
    interval = Passes(sigma_start=1.01e-2, sigma_end=1e-2)
    network = distil_product(terms, student, labels(0, 1, 2), tmp_path, config, settings=[interval])
    means = terms[0].expert.network.means
    expected = (1.5 * means[[0, 1, 2]] + 0.75 * means[[1, 2, 0]]) / 2.25
    assert (network.mean.weight.T - expected).abs().max() < 1e-2


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


def test_weights_are_bounded():
    weight = Loss(prediction_named("eps"), Schedule.linear(), 5.0).weight(SIGMAS)
    torch.testing.assert_close(weight, (SIGMAS**-2).clamp(max=5.0))


@pytest.mark.parametrize(("given", "compared"), [("", "v"), ("x0", "x0")])
def test_the_students_own_prediction_is_compared_unless_another_is_asked_for(given, compared):
    assert Loss.of(LossConfig(given), make_student("v")).prediction.name == compared

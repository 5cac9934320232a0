"""Schedules and respacing against the published tables, and their inverses; ε, x0, v and flow say the same thing."""

import json
import math

import pytest
import torch

from mcdm_core import PREDICTIONS, Flow, Schedule, align_noise_level, prediction_named, space_timesteps
from mcdm_core.diffusion.prediction import eps_from_x0, output_from_x0
from mcdm_core.diffusion.respacing import timesteps_of_run
from mcdm_core.diffusion.schedule import per_row, sigma_at_progress

from ...support.published.reference_weights import PARITY

TABLES = json.loads((PARITY / "schedules.json").read_text())


@pytest.mark.parametrize("name", TABLES["schedules"])
def test_published_tables(name):
    schedule, table = Schedule.named(name), TABLES["schedules"][name]
    torch.testing.assert_close(schedule.betas, torch.tensor(table["betas"], dtype=torch.float64), atol=1e-15, rtol=0)
    expected = torch.tensor(table["alphas_cumprod"], dtype=torch.float64)
    torch.testing.assert_close(schedule.alphas_cumprod, expected, atol=0, rtol=1e-12)


@pytest.mark.parametrize("spec", TABLES["timestep_maps"])
def test_published_timestep_maps(spec):
    spacing = json.loads(spec) if spec.startswith("[") else spec
    assert space_timesteps(spacing) == TABLES["timestep_maps"][spec]


def test_spacings_as_numbers():
    assert space_timesteps(5) == space_timesteps("5") == [0, 250, 500, 749, 999]
    assert space_timesteps("1") == [0]
    assert space_timesteps([1, 1], 10) == space_timesteps(torch.tensor([1, 1]), 10) == [0, 5]


@pytest.mark.parametrize("spacing", ["1", 1, "ddim1"])
def test_a_run_of_one_step_begins_with_noise_alone(spacing):
    assert timesteps_of_run(spacing, 10) == [9]
    assert timesteps_of_run(2, 10) == space_timesteps(2, 10) == [0, 9]


def test_levels_are_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        schedules = [Schedule.linear(), Schedule.cosine(), Schedule.from_betas([0.1, 0.2])]
        levels = [sigma_at_progress(schedule, 0.5) for schedule in schedules]
    assert levels[:2] == [sigma_at_progress(schedule, 0.5) for schedule in (Schedule.linear(), Schedule.cosine())]


@pytest.mark.parametrize(("count", "instead"), [(999, '"999" without "ddim"'), (0, "1 to 1000"), (3000, "1 to 1000")])
def test_a_stride_that_is_not_there_is_answered_by_what_is(count, instead):
    with pytest.raises(ValueError, match=rf"^No integer stride chooses {count} of 1000 timesteps; use {instead}"):
        space_timesteps(f"ddim{count}")


@pytest.mark.parametrize("spacing", ["", "ddim", "ten", "0", [], "1001", "600,1", "ddim999", "5;5", "ddim100,5", None])
def test_spacings_that_cannot_be_read(spacing):
    with pytest.raises(ValueError, match=r"Expected|stride"):
        space_timesteps(spacing)


@pytest.mark.parametrize("schedule", [Schedule.linear(), Schedule.cosine(), Flow()])
def test_timestep_and_level_are_inverse(schedule):
    t = torch.linspace(0.5, 998.5, 777, dtype=torch.float64)
    torch.testing.assert_close(schedule.t(schedule.sigma(t)), t, atol=1e-9, rtol=0)
    alpha, sigma = schedule.alpha_sigma(t)
    torch.testing.assert_close(sigma / alpha, schedule.sigma(t))
    torch.testing.assert_close(schedule.alpha(schedule.sigma(t)), alpha)


@pytest.mark.parametrize("schedule", [Schedule.linear(), Schedule.cosine()])
def test_levels_between_timesteps_are_linear_in_log_sigma(schedule):
    t = torch.tensor([0.0, 500, 998])
    between = schedule.sigma(t.double() + 0.25).log()
    expected = 0.75 * schedule.sigma(t.double()).log() + 0.25 * schedule.sigma(t.double() + 1).log()
    torch.testing.assert_close(between, expected)
    alpha, sigma = schedule.alpha_sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(3))


def test_levels_outside_the_range_are_clamped():
    schedule = Schedule.linear()
    assert schedule.t(0.0).item() == 0
    assert schedule.t(math.inf).item() == schedule.t(1e9).item() == 999
    assert schedule.sigma(2000.0).item() == pytest.approx(schedule.sigma_max)


def test_results_have_the_dtype_of_the_argument():
    schedule = Schedule.linear()
    assert schedule.sigma(torch.tensor([1.0])).dtype == torch.float32
    assert schedule.sigma(torch.tensor([1])).dtype == schedule.sigma(1.0).dtype == torch.float64


def test_flow_reaches_infinity():
    flow = Flow()
    assert flow.sigma(1000.0).item() == math.inf
    assert flow.t(math.inf).item() == 1000
    assert [factor.item() for factor in flow.alpha_sigma(250.0)] == [0.75, 0.25]


@pytest.mark.parametrize("values", [[0.9], [0.5, 0.9], [1.0, 0.5], [0.9, 0.0], [[0.9, 0.5]], [0.9, math.nan]])
def test_a_schedule_must_fall_inside_0_and_1(values):
    with pytest.raises(ValueError, match="cumulative alphas"):
        Schedule(torch.tensor(values))


def test_an_unknown_schedule_is_named():
    with pytest.raises(ValueError, match=r"linear, cosine.*'sigmoid'"):
        Schedule.named("sigmoid")
    assert isinstance(Schedule.named("flow"), Flow)


@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 5.0), (1.0, 50.0), (0.3, 0.7), (0.0, 1.0)])
def test_alignment_keeps_the_direction_and_the_level(alpha, sigma):
    x, level = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
    aligned, sigma_i = align_noise_level(x, level, 0.01, 14.6, alpha)
    assert sigma_i.item() == pytest.approx(min(14.6, sigma / alpha) if alpha else 14.6)
    # In the variance-preserving form, which has unit variance at any level, nothing moves.
    torch.testing.assert_close(aligned / (1 + sigma_i**2) ** 0.5, x / math.hypot(alpha, sigma))


def test_per_row_values_broadcast():
    like = torch.zeros(2, 3, 4, 4)
    assert per_row(torch.tensor([1, 2]), like).shape == (2, 1, 1, 1)
    assert per_row(0.5, like).dtype == torch.float32


FORMS = {
    "preserving": Schedule.cosine().alpha_sigma(600.5),
    "exploding": (torch.tensor(1.0, dtype=torch.float64), torch.tensor(7.0, dtype=torch.float64)),
    "flow": Flow().alpha_sigma(600.5),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_round_trips_in_float64(name, form):
    prediction, (alpha, sigma) = prediction_named(name), FORMS[form]
    x0, eps = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    x_t = alpha * x0 + sigma * eps
    output = prediction.target(x0, eps, alpha, sigma)
    torch.testing.assert_close(prediction.to_x0(output, x_t, alpha, sigma), x0, atol=1e-12, rtol=0)
    torch.testing.assert_close(eps_from_x0(x0, x_t, alpha, sigma), eps, atol=1e-12, rtol=0)
    torch.testing.assert_close(output_from_x0(prediction, x0, x_t, alpha, sigma), output, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        output_from_x0(prediction, prediction.to_x0(eps, x_t, alpha, sigma), x_t, alpha, sigma), eps, atol=1e-12, rtol=0
    )


def test_targets_are_what_they_are_called():
    x0, eps = torch.randn(2, 4, dtype=torch.float64)
    targets = {name: prediction.target(x0, eps, 0.8, 0.6) for name, prediction in PREDICTIONS.items()}
    assert torch.equal(targets["eps"], eps)
    assert torch.equal(targets["x0"], x0)
    torch.testing.assert_close(targets["v"], 0.8 * eps - 0.6 * x0)
    torch.testing.assert_close(targets["flow"], eps - x0)


def test_an_unknown_type_is_named():
    with pytest.raises(ValueError, match=r"eps, x0, v, flow.*'epsilon'"):
        prediction_named("epsilon")

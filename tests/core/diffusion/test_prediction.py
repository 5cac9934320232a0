"""ε, x0, v and flow say the same thing."""

import pytest
import torch

from mcdm_core import PREDICTIONS, Flow, Schedule, prediction_named
from mcdm_core.diffusion.prediction import eps_from_x0, output_from_x0

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

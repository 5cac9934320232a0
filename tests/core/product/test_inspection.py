"""What is measured and recorded of a run: norms and cosines of guidance, the steps to show."""

import math

import pytest
import torch

from mcdm_core import Passes, ProductDenoiser, Term
from mcdm_core.product.evaluation.inspection import Recording, measure_guidance, parse_shown_steps, shown_steps
from studies.gaussian import gaussian_expert, label


def sample(*values):
    """Batches of one sample of two values."""
    return [torch.tensor([[first, second]]) for first, second in values]


def test_norms_and_cosines_of_plane_vectors():
    uncond = torch.tensor([[1.0, 1.0]])
    cond = sample((4.0, 1.0), (1.0, 3.0), (0.0, 0.0))
    guidance = measure_guidance(cond, uncond, [1.0, -2.0, 3.0])
    root2 = math.sqrt(2)
    # Guidance (3, 0), (0, −4) and (−3, −3); the root mean square of two values is their norm over √2.
    assert guidance.norms[0].tolist() == pytest.approx([3 / root2, 4 / root2, 3.0])
    expected = [[1, 0, -1 / root2], [0, 1, 1 / root2], [-1 / root2, 1 / root2, 1]]
    torch.testing.assert_close(guidance.cosines[0], torch.tensor(expected, dtype=torch.float64))


def test_each_sample_of_a_batch_is_measured_for_itself():
    cond = torch.tensor([[1.0, 1.0], [5.0, 5.0]])
    guidance = measure_guidance([cond, -cond], torch.zeros(2, 2), [1.0, 1.0])
    assert guidance.norms.tolist() == [[1.0, 1.0], [5.0, 5.0]]
    assert guidance.cosines[:, 0, 1].tolist() == [-1.0, -1.0]


def test_weights_may_be_maps_and_values_may_count_partly():
    cond = [torch.ones(1, 3, 2, 2), torch.full((1, 3, 2, 2), 7.0)]
    left = torch.tensor([[[[2.0, 0.0], [2.0, 0.0]]]])
    uncond = torch.zeros(1, 3, 2, 2)
    assert measure_guidance(cond, uncond, [left, 1.0]).norms[0].tolist() == pytest.approx([math.sqrt(2), 7.0])
    assert measure_guidance(cond, uncond, [left, 1.0], left / 2).norms[0].tolist() == pytest.approx([2.0, 7.0])


def test_what_was_not_predicted_is_nan_and_spoils_nothing_else():
    (cond,) = sample((3.0, 4.0))
    guidance = measure_guidance([cond, None, cond], torch.zeros(1, 2), [1.0, 1.0, 0.5])
    assert guidance.norms.isnan().tolist() == [[False, True, False]]
    assert guidance.cosines[0, 0].isnan().tolist() == [False, True, False]
    assert guidance.cosines[0, 0, 2] == pytest.approx(1.0)
    assert measure_guidance([cond], None, [1.0]).norms.isnan().all()
    assert measure_guidance([cond], None, [1.0], area=torch.ones(1, 3, 3)).norms.isnan().all()  # of another space
    assert measure_guidance([None], cond, [0.0]).norms.isnan().all()


def test_no_guidance_has_no_direction():
    (cond,) = sample((3.0, 4.0))
    guidance = measure_guidance([cond, cond], cond, [1.0, 1.0])
    assert guidance.norms.tolist() == [[0.0, 0.0]]
    assert guidance.cosines.isnan().all()


@pytest.mark.parametrize(
    ("text", "total", "steps"),
    [
        ("5", 50, [1, 13, 26, 38, 50]),
        ("5", 3, [1, 2, 3]),
        ("1", 50, [50]),
        ("5,", 50, [5]),
        ("1, 5, 10, last", 20, [1, 5, 10, 20]),
        (" last , FIRST,3", 4, [1, 3, 4]),
        ("2, 2", 4, [2]),
        ("last", 4, [4]),
    ],
)
def test_steps_shown(text, total, steps):
    parse_shown_steps(text)
    assert shown_steps(text, total) == steps


class Observed(ProductDenoiser):
    """A product that tells of its evaluations."""

    def _combined(self, evaluation):
        self.observe(evaluation)
        return super()._combined(evaluation)


def test_the_last_evaluation_before_a_report_is_recorded_and_a_report_without_one_is_not_looked_at():
    expert, weights = gaussian_expert([-1.0, 1.0, 0.0], [1.0, 0.5, 2.0]), (1.5, 2.5)
    terms = [Term(expert, label(k), label(2), weight=weight) for k, weight in enumerate(weights)]
    product, recording = Observed(terms, settings=[Passes(threshold=-1.0, refresh=9)]), Recording([2, 5], 5, None)
    product.observe = recording.observe
    x, levels = torch.randn(2, 1, 4, 4, dtype=torch.float64), [8.0, 4.0, 3.0, 0.0]
    with product.running(levels):
        for step, asked in ((1, levels[:1]), (2, levels[1:3]), (3, [])):
            found = [product(x, level) for level in asked]
            recording.finish_step(step, lambda found=found: found[-1])
    assert list(recording.guidance) == [1, 2]
    assert recording.rows == {1: (6, 6), 2: (8, 12)}
    (shown,) = recording.shown()
    assert (shown.step, shown.sigma) == (2, 3.0)
    torch.testing.assert_close(shown.denoised, found_by(shown.cond, shown.uncond, weights))
    assert recording.guidance[2].norms.shape == (2, 2)


def found_by(cond, uncond, weights):
    """Eq. 10."""
    return uncond + sum(weight * (each - uncond) for weight, each in zip(weights, cond, strict=True))

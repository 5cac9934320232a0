"""Samples of one run in the forms of its experts."""

import torch

from mcdm_core.product.evaluation.evaluation import NoiseLevel
from mcdm_core.product.evaluation.forms import Form, align, align_levels, from_unbounded


def test_levels_of_a_run_are_those_that_networks_are_asked_at():
    """To the bit, also where some lie beyond the expert's schedule: networks look for their own among the run's."""
    flows = Form(True, 1.0, 0.001, 1.0), Form(True, 1.0, 0.003, 1.0), Form(True, 8.0, 0.001, 1.0)
    sigmas = torch.tensor([1.0, 0.9, 0.37, 0.002, 1e-4, 0.0])
    for reference in (*flows, Form(False, 1.0, 0.03, 14.6)):
        for expert in flows:
            asked = [align(torch.zeros(1, 1), s[None], NoiseLevel(s), reference, expert)[1] for s in sigmas[:-1]]
            assert torch.equal(align_levels(sigmas, reference, expert), torch.cat([*asked, torch.zeros(1)]))
    assert torch.equal(align_levels(sigmas, flows[0], flows[1])[:3], sigmas[:3])


def test_rows_of_a_batch_are_converted_to_a_flow_each_at_its_own_level():
    """x0 + σ·n is that of (1 − s)·x0 + k·s·n at k·s = σ·(1 − s); s is within the schedule."""
    x0, n = torch.full((2, 1, 2), 0.5), torch.full((2, 1, 2), -0.25)
    sigma = torch.tensor([2.0, 18.0])
    flow = Form(True, 2.0, 0.001, 0.8)
    x, s = from_unbounded(x0 + sigma[:, None, None] * n, sigma, flow)
    torch.testing.assert_close(s, torch.tensor([0.5, 0.8]))
    torch.testing.assert_close(x[0], 0.5 * x0[0] + 2.0 * 0.5 * n[0])


def test_signal_and_noise_of_a_part_of_a_joint_sample_are_larger_by_kappa():
    form = Form(False, 1.0, 0.03, 14.6)
    x, sigma = align(torch.ones(1, 2), torch.tensor([3.0]), NoiseLevel(3.0), form, form, kappa=2.0)
    torch.testing.assert_close(x, torch.full((1, 2), 2.0))
    torch.testing.assert_close(sigma, torch.tensor([6.0]))

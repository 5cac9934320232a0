"""Samples of one run in the forms of its experts."""

import torch

from mcdm_core.product.evaluation import NoiseLevel
from mcdm_core.product.forms import Form, align, align_levels


def test_levels_of_a_run_are_those_that_networks_are_asked_at():
    """To the bit, also where some lie beyond the expert's schedule: networks look for their own among the run's."""
    flows = Form(True, 1.0, 0.001, 1.0), Form(True, 1.0, 0.003, 1.0), Form(True, 8.0, 0.001, 1.0)
    sigmas = torch.tensor([1.0, 0.9, 0.37, 0.002, 1e-4, 0.0])
    for reference in (*flows, Form(False, 1.0, 0.03, 14.6)):
        for expert in flows:
            asked = [align(torch.zeros(1, 1), s[None], NoiseLevel(s), reference, expert)[1] for s in sigmas[:-1]]
            assert torch.equal(align_levels(sigmas, reference, expert), torch.cat([*asked, torch.zeros(1)]))
    assert torch.equal(align_levels(sigmas, flows[0], flows[1])[:3], sigmas[:3])

"""The optimizer of inner weights."""

import copy

import pytest
import torch
from torch import nn

from mcdm_core.training.loop.muon import Muon, orthogonalized


def test_wide_matrices_are_iterated_as_if_one_by_one():
    matrix = torch.randn(1, 6, 40, dtype=torch.float64)
    x = matrix / torch.linalg.matrix_norm(matrix)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    torch.testing.assert_close(orthogonalized(matrix), x)
    torch.testing.assert_close(orthogonalized(matrix.float()).double(), x, rtol=0, atol=1e-4)


def test_a_network_is_parted_by_shapes_and_names():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 3, 3))
    inner, others = Muon.of(network, ("0.", "2."), 1e-3).param_groups
    assert [id(weight) for weight in inner["params"]] == [id(network[1].weight)]
    assert len(others["params"]) == 5


@pytest.mark.parametrize("shape", [(3, 8, 24), (2, 24, 8), (1, 8, 8)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = torch.randn(shape)
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    found = u.mT @ orthogonalized(matrices) @ v.mT
    values = found.diagonal(dim1=1, dim2=2)
    assert (values[s > 0.1 * s[:, :1]] - 0.95).abs().max() < 0.3
    assert (found - torch.diag_embed(values)).abs().max() < 1e-4


def test_a_matrix_steps_along_the_orthogonal_gradient():
    weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
    gradient = torch.randn_like(weight)
    weight.grad = gradient.clone()
    Muon([weight], [], lr=0.1).step()
    expected = orthogonalized(gradient.flatten(1)[None])[0].view_as(weight) * 0.1 * 0.2 * 18**0.5
    torch.testing.assert_close(weight.detach(), -expected, rtol=1e-4, atol=1e-6)
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.1 * 0.2, rel=0.3)  # the size of Adam's steps


def test_all_else_steps_as_adam_does():
    weights = [nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(2, 2))]
    reference = copy.deepcopy(weights)
    ours, adam = Muon([], weights, lr=0.01), torch.optim.Adam(reference, lr=0.01, betas=(0.9, 0.99))
    for _ in range(5):
        for own, other in zip(weights, reference, strict=True):
            own.grad = torch.randn_like(own)
            other.grad = own.grad.clone()
        ours.step()
        adam.step()
    for own, other in zip(weights, reference, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-7)

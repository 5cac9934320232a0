"""The discriminator and the losses."""

import pytest
import torch

from studies.baselines.discriminator import Discriminator, adversarial_loss, discriminator_loss, matching_loss


def features(*scores):
    return [[torch.zeros(1), torch.tensor(values)] for values in scores]


def test_hinge_losses_by_hand():
    real, generated = features([2.0, 0.0], [1.0]), features([-3.0, 0.5], [-0.5])
    # (0 + 1)/2 + (0 + 1.5)/2 at one scale, 0 + 0.5 at the other
    assert discriminator_loss(real, generated).item() == pytest.approx((1.25 + 0.5) / 2)
    assert adversarial_loss(generated).item() == pytest.approx((1.25 + 0.5) / 2)


def test_matching_compares_all_activations_but_the_scores():
    real = [[torch.tensor([1.0, 3.0]), torch.tensor([0.0]), torch.tensor([9.0])]]
    generated = [[torch.tensor([0.0, 1.0]), torch.tensor([0.5]), torch.tensor([-9.0])]]
    assert matching_loss(real, generated).item() == pytest.approx((1.5 + 0.5) / 2)


def test_matching_does_not_move_the_real_side():
    own, theirs = torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    score = torch.zeros(1)
    matching_loss([[own, score]], [[theirs, score]]).backward()
    assert own.grad is None
    assert theirs.grad.tolist() == [-0.5, -0.5]


def test_scores_of_patches_at_each_scale_depend_on_the_maps():
    network = Discriminator(2, width=8, scales=2).eval()
    pictures, maps = torch.rand(2, 3, 64, 64), torch.zeros(2, 2, 64, 64)
    scored = network(pictures, maps)
    assert [scale[-1].shape for scale in scored] == [(2, 1, 8, 8), (2, 1, 4, 4)]
    other = network(pictures, maps + 1)
    assert all((a[-1] - b[-1]).abs().max() > 1e-3 for a, b in zip(scored, other, strict=True))


def test_weights_are_spectrally_normalized():
    network = Discriminator(1, width=8, scales=1)
    with torch.no_grad():
        for layer in network.scales[0].layers:
            layer.parametrizations.weight.original.mul_(50)
    for _ in range(30):  # each pass while training is a step of the power iteration
        network(torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32))
    network.eval()
    for layer in network.scales[0].layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)

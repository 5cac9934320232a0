"""Low-rank changes of weights, against the layers that they stand for."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from mcdm_core import UNet
from mcdm_core.networks.low_rank import add_low_rank, load_base, low_rank_of

from ...support.small_experts import LATENT_NETWORK

CONFIG = replace(LATENT_NETWORK, pooled_dim=6)
X, T = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10.0, 700.0])


def changed(seed=0, rank=2):
    """A network whose weights are changed at random, and the state of what was changed."""
    torch.manual_seed(seed)
    network = UNet(CONFIG).eval()
    state = copy.deepcopy(network.state_dict())
    add_low_rank(network, rank)
    return network, state


def test_a_change_begins_as_nothing_and_alone_learns():
    network, state = changed()
    plain = UNet(CONFIG).eval()
    plain.load_state_dict(state)
    assert torch.equal(network(X, T), plain(X, T))
    network(X, T).square().mean().backward()
    learning = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert learning == {name for name, weight in network.named_parameters() if weight.grad is not None} | {
        "pooled_proj.parametrizations.weight.0.down",  # nothing was told
        "pooled_proj.parametrizations.weight.0.up",
    }
    assert {name.rpartition(".")[2] for name in learning} == {"down", "up"}


def test_every_matrix_of_the_network_is_changed():
    network, state = changed()
    matrices = {name.removesuffix(".weight") for name, tensor in state.items() if tensor.ndim > 1}
    assert low_rank_of(network).keys() == matrices


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(5, 3), torch.randn(2, 5)),
        (nn.Conv1d(5, 3, 1), torch.randn(2, 5, 7)),
        (nn.Conv2d(5, 3, 3, padding=1), torch.randn(2, 5, 6, 6)),
    ],
)
def test_the_changed_layer_is_the_layer_and_two_thin_ones(layer, x):
    torch.manual_seed(0)
    plain, network = copy.deepcopy(layer), nn.Sequential(layer)
    add_low_rank(network, 2)
    (change,) = low_rank_of(network).values()
    nn.init.normal_(change.up)
    down, up = copy.deepcopy(plain), type(plain)(2, 3, *([1] if x.ndim > 2 else []), bias=False)
    down.weight, down.bias, up.weight = nn.Parameter(change.down), None, nn.Parameter(change.up)
    torch.testing.assert_close(network(x), plain(x) + up(down(x)))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_factors_are_on_the_device_of_their_weight_and_in_single_precision(device, dtype):
    network = nn.Sequential(nn.Linear(5, 3), nn.Conv2d(3, 2, 1)).to(device, dtype)
    add_low_rank(network, 2)
    changes = low_rank_of(network)
    assert {(factor.device.type, factor.dtype) for c in changes.values() for factor in (c.down, c.up)} == {
        (device, torch.float32)
    }
    assert {(layer.weight.device.type, layer.weight.dtype) for layer in network} == {(device, dtype)}


def test_no_rank_exceeds_the_weight_s_own():
    network, _ = changed(rank=1000)
    shapes = {name: (change.down.shape, change.up.shape) for name, change in low_rank_of(network).items()}
    assert shapes["pooled_proj"] == ((6, 6), (64, 6))
    assert shapes["out.2"] == ((4, 16, 3, 3), (4, 4, 1, 1))


@pytest.mark.parametrize("spoil", [lambda s: s.pop("out.2.bias"), lambda s: s.update(more=torch.zeros(1))])
def test_the_base_of_another_network_is_refused(spoil):
    network, state = changed()
    spoil(state)
    with pytest.raises(RuntimeError, match=r"out\.2\.bias|more"):
        load_base(network, state)

"""Tensors that hold no values: everything else about a step is as with values."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from . import bytes_in_use, counted, set_hollow_from

WIDTH, SIDE = 64, 16
LEAST = 4096  # bytes of hollow tensors; what a step makes of the widest ones is smaller


@pytest.fixture
def hollow(accelerator):
    """Let large tensors be hollow from the call on."""
    yield lambda: set_hollow_from(LEAST)
    set_hollow_from(sys.maxsize)


def step(network, x):
    """What a UNet does: convolutions, norms, attention, views, copies, casts, writes in place."""
    found = network(x)
    tokens = found.flatten(2).transpose(1, 2)
    heads = tokens.reshape(len(x), SIDE * SIDE, 4, WIDTH // 4).transpose(1, 2)
    tokens = F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).reshape(tokens.shape)
    del heads
    tokens = F.layer_norm(tokens, (WIDTH,)) * 1.5
    tokens += torch.cat([tokens, tokens], -1).chunk(2, -1)[0].to("cpu").to(x.device)
    picture = tokens.transpose(1, 2).reshape(found.shape).float()
    return F.interpolate(picture, scale_factor=2.0), picture.mean((1, 2, 3))


def measured(first_seed=0):
    torch.manual_seed(first_seed)
    network = nn.Sequential(
        nn.Conv2d(4, WIDTH, 3, padding=1), nn.GroupNorm(8, WIDTH), nn.SiLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
    )
    with torch.no_grad(), counted() as counts:
        before = bytes_in_use()
        picture, mean = step(network.half().to("npu"), torch.randn(2, 4, SIDE, SIDE, dtype=torch.half, device="npu"))
    counts.peak -= before
    return counts, picture.shape, picture.dtype, mean.cpu()


def test_a_step_of_hollow_tensors_asks_and_takes_what_one_with_values_does(hollow):
    *full, mean = measured()
    hollow()
    *empty, nothing = measured()
    assert empty == full
    assert mean.any()
    assert not nothing.any()  # else it was computed even so
    assert full[0].peak > 20 * LEAST


def test_small_tensors_keep_their_values_beside_hollow_ones(hollow):
    hollow()
    large, small = torch.ones(LEAST, device="npu"), torch.arange(3.0, device="npu")
    assert not (large + 1)[:3].cpu().any()
    assert torch.equal((2 * small).cpu(), torch.tensor([0.0, 2.0, 4.0]))
    small.copy_(large[:3])
    assert not small.cpu().any()


def test_attention_holds_no_scores(accelerator):
    tokens = 256
    q, k, v = torch.randn(3, 2, 4, tokens, 8).to("npu")
    with torch.no_grad(), counted() as counts:
        before = bytes_in_use()
        found = F.scaled_dot_product_attention(q, k, v)
    assert counts.peak - before == found.nbytes + 4 * 2 * 4 * tokens  # and a number for each row of scores
    torch.testing.assert_close(found.cpu(), F.scaled_dot_product_attention(q.cpu(), k.cpu(), v.cpu()))

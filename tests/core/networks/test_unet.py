"""The UNet, in what no published network shows of it."""

import pytest
import torch

from mcdm_core.networks import ImageEncoder, TextTransformer, TextTransformerConfig, UNet, UNetConfig
from mcdm_core.networks.blocks import timestep_embedding


def tiny(**options) -> UNet:
    config = UNetConfig(
        model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamplings=(2,), **options
    )
    network = UNet(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(std=0.05)
    return network


@pytest.mark.parametrize("scale_shift_norm", [True, False])
def test_the_unshuffled_stem_keeps_the_size(scale_shift_norm):
    network = tiny(patch=2, map_channels=1, scale_shift_norm=scale_shift_norm)
    assert network(torch.randn(2, 3, 16, 16), torch.tensor([3.0, 500.5])).shape == (2, 3, 16, 16)


def test_missing_maps_and_embeddings_are_zeros():
    network = tiny(map_channels=1, pooled_dim=8)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([100.0])
    zeros = network(x, t, maps=torch.zeros(1, 1, 16, 16), embedding=torch.zeros(1, 8))
    assert torch.equal(network(x, t), zeros)
    assert not torch.equal(network(x, t, embedding=torch.ones(1, 8)), zeros)


def test_half_precision_weights_give_nearly_the_same():
    network = tiny()
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([100.0])
    full = network(x, t)
    half = network.to(torch.bfloat16)(x, t)
    assert half.dtype == torch.bfloat16
    assert (half - full).abs().max() < 0.1 * full.abs().max()


def test_an_embedding_may_stand_in_for_a_class():
    network = tiny(num_classes=10)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([100.0])
    embedding = network.label_emb.weight[3:4]
    assert torch.equal(network(x, t, labels=torch.tensor([3])), network(x, t, embedding=embedding))


def test_the_picture_to_enlarge_comes_after_the_maps():
    network = tiny(map_channels=4, low_res_channels=3)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([100.0])
    maps, low_res = torch.randn(1, 4, 16, 16), torch.randn(1, 3, 4, 4)
    up = torch.nn.functional.interpolate(low_res, (16, 16), mode="bilinear")
    plain = tiny(map_channels=7)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(x, t, maps=maps, low_res=low_res), plain(x, t, maps=torch.cat([maps, up], dim=1)))


def test_refusals():
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([100.0])
    with pytest.raises(ValueError, match="class label"):
        tiny(num_classes=10)(x, t)
    with pytest.raises(ValueError, match="maps of shape"):
        tiny(map_channels=1)(x, t, maps=torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="needs text"):
        tiny(context_dim=8)(x, t, context=torch.zeros(1, 4, 8))
    with pytest.raises(ValueError, match="needs a small picture"):
        tiny(low_res_channels=3)(x, t)
    text = TextTransformer(
        TextTransformerConfig(vocabulary=9, context_length=4, width=8, layers=1, heads=2, pooled_dim=4)
    )
    with pytest.raises(ValueError, match="pad the tokens to 4"):
        text(torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 3, dtype=torch.bool))


def test_an_odd_embedding_width_is_padded():
    embedding = timestep_embedding(torch.tensor([0.0]), 7)
    assert embedding.tolist() == [[1, 1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize("size", [64, 48])
def test_the_image_encoder_takes_any_size_and_sees_the_picture(size):
    encoder = ImageEncoder(dim=16, width=8).eval().requires_grad_(False)
    black, white = encoder(torch.stack([-torch.ones(3, size, size), torch.ones(3, size, size)]))
    assert black.shape == (16,)
    assert not torch.allclose(black, white)

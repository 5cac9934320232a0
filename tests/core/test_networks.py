"""The UNet against the published code, and what the shipped experts add to it."""

import pytest
import torch
from reference_weights import reference_config, reference_values, reference_weights

from mcdm_core.networks import UNet, UNetConfig
from mcdm_core.networks.blocks import timestep_embedding
from mcdm_core.networks.image_encoder import ImageEncoder

MAPS = {"face_unet": 6, "sketch_unet": 3}


def published(name: str) -> UNet:
    """The published network of a reference, with its weights."""
    options = reference_config(name)
    face = name == "face_unet"
    config = UNetConfig(
        out_channels=options["out_channels"],
        model_channels=options["model_channels"],
        num_res_blocks=options["num_res_blocks"],
        channel_mult=tuple(options["channel_mult"]),
        attention_downsamplings=tuple(options["attention_resolutions"]),
        num_heads=options.get("num_heads", 1),
        num_head_channels=options.get("num_head_channels"),
        new_attention_order=options.get("use_new_attention_order", False),
        scale_shift_norm=options["use_scale_shift_norm"],
        resblock_updown=options["resblock_updown"],
        num_classes=None if face else options.get("num_classes"),
        map_channels=MAPS.get(name, 0),
        convert_maps=face,
        film_dim=512 if face else None,
    )
    network = UNet(config)
    network.load_state_dict(reference_weights(name))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "name", ["adm_cc_legacy", "adm_cc_neworder", "adm_cc_4heads", "adm_uncond", "adm_conv_resample"]
)
def test_adm_equals_the_published_code(name):
    network, values = published(name), reference_values(name)
    options = {"labels": values["inputs/y"]} if "inputs/y" in values else {}
    for t, out in (("inputs/t", "outputs/out"), ("inputs/t_float", "outputs/out_float_t")):
        if t in values:
            torch.testing.assert_close(
                network(values["inputs/x"], values[t], **options), values[out], atol=1e-4, rtol=0
            )


def test_the_sketch_network_equals_the_published_code():
    network, values = published("sketch_unet"), reference_values("sketch_unet")
    out = network(values["inputs/x"], values["inputs/t"], maps=values["inputs/sketch"])
    torch.testing.assert_close(out, values["outputs/out"], atol=1e-4, rtol=0)


def test_the_face_network_equals_the_published_code():
    network, values = published("face_unet"), reference_values("face_unet")
    x, t, maps, embedding = (values[f"inputs/{key}"] for key in ("x", "t", "SR", "image_embed"))

    mixed = network(x, t, maps=maps, embedding=embedding, text_active=True)
    torch.testing.assert_close(mixed, values["outputs/mixed_batch"], atol=1e-4, rtol=0)

    without = network(x, t, maps=maps, embedding=torch.zeros_like(embedding), text_active=False)
    torch.testing.assert_close(without, values["outputs/zero_embed_batch"], atol=1e-4, rtol=0)

    rows = [
        network(x[i : i + 1], t[i : i + 1], maps=maps[i : i + 1], embedding=e, text_active=bool(e.any()))
        for i, e in enumerate(embedding.split(1))
    ]
    torch.testing.assert_close(torch.cat(rows), values["outputs/row_by_row"], atol=1e-4, rtol=0)


def test_active_text_without_an_embedding_is_a_zero_embedding():
    network, values = published("face_unet"), reference_values("face_unet")
    x, t = values["inputs/x"][:1], values["inputs/t"][:1]
    zeros = torch.zeros(1, 512)
    assert torch.equal(network(x, t, text_active=True), network(x, t, embedding=zeros, text_active=True))
    assert (network(x, t, text_active=True) - network(x, t)).abs().max() > 0.1


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


def test_refusals():
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([100.0])
    with pytest.raises(ValueError, match="class label"):
        tiny(num_classes=10)(x, t)
    with pytest.raises(ValueError, match="maps of shape"):
        tiny(map_channels=1)(x, t, maps=torch.zeros(1, 1, 8, 8))


def test_an_odd_embedding_width_is_padded():
    embedding = timestep_embedding(torch.tensor([0.0]), 7)
    assert embedding.tolist() == [[1, 1, 1, 0, 0, 0, 0]]


def test_the_configuration_survives_its_plain_form():
    config = UNetConfig(channel_mult=(0.5, 1), film_dim=512)
    assert UNetConfig.from_dict({**config.to_dict(), "channel_mult": [0.5, 1]}) == config


@pytest.mark.parametrize("size", [64, 48])
def test_the_image_encoder_takes_any_size_and_sees_the_picture(size):
    encoder = ImageEncoder(dim=16, width=8).eval().requires_grad_(False)
    black, white = encoder(torch.stack([-torch.ones(3, size, size), torch.ones(3, size, size)]))
    assert black.shape == (16,)
    assert not torch.allclose(black, white)

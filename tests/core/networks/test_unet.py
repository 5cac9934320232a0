"""The UNet against the published code, and what the shipped experts add to it."""

from dataclasses import asdict

import pytest
import torch

from mcdm_core import Condition, Expert, ProductDenoiser, Schedule, Term, prediction_named
from mcdm_core.networks import ImageEncoder, TextTransformer, TextTransformerConfig, UNet, UNetConfig
from mcdm_core.networks.blocks import timestep_embedding

from ...support.published.reference_weights import reference_config, reference_values, reference_weights

MAPS = {"face_unet": 6, "sketch_unet": 3}
UPSAMPLERS = ("adm_superres", "glide_upsample")


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
        low_res_channels=3 if name in UPSAMPLERS else 0,
        convert_maps=face,
        film_dim=512 if face else None,
        context_dim=options.get("xf_width"),
    )
    network, weights = UNet(config), reference_weights(name)
    network.load_state_dict({key: tensor for key, tensor in weights.items() if key in network.state_dict()})
    return network.eval().requires_grad_(False)


def published_text(name: str) -> TextTransformer:
    """The text transformer of a GLIDE reference, with its weights."""
    options, weights = reference_config(name), reference_weights(name)
    transformer = TextTransformer(
        TextTransformerConfig(
            vocabulary=len(weights["token_embedding.weight"]),
            context_length=options["text_ctx"],
            width=options["xf_width"],
            layers=options["xf_layers"],
            heads=options["xf_heads"],
            pooled_dim=4 * options["model_channels"],
        )
    )
    transformer.load_state_dict({key: weights[key] for key in transformer.state_dict()})
    return transformer.eval().requires_grad_(False)


@pytest.mark.one_of(2)
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


def test_the_upsampler_equals_the_published_code():
    network, values = published("adm_superres"), reference_values("adm_superres")
    out = network(values["inputs/x"], values["inputs/t"], labels=values["inputs/y"], low_res=values["inputs/low_res"])
    torch.testing.assert_close(out, values["outputs/out"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["glide_base", "glide_upsample"])
def test_glide_equals_the_published_code(name):
    network, values = published(name), reference_values(name)
    context, pooled = published_text(name)(values["inputs/tokens"], values["inputs/mask"])
    torch.testing.assert_close(context.transpose(1, 2), values["outputs/xf_out"], atol=1e-4, rtol=0)
    torch.testing.assert_close(pooled, values["outputs/xf_proj"], atol=1e-4, rtol=0)
    low_res = {"low_res": values["inputs/low_res"]} if name in UPSAMPLERS else {}
    out = network(values["inputs/x"], values["inputs/t"], context=context, embedding=pooled, **low_res)
    torch.testing.assert_close(out, values["outputs/out"], atol=1e-4, rtol=0)


def test_glide_prompts_are_composed_as_in_composable_diffusion():
    values, about = reference_values("compgen_glide"), reference_config("compgen_glide")
    context, pooled = published_text("glide_base")(values["inputs/tokens"], values["inputs/mask"])
    schedule = Schedule.cosine()
    glide = Expert(published("glide_base"), schedule, prediction_named("eps"), image_size=32, clamp_x0=False)
    *prompts, null = (Condition(context=context[i : i + 1], embedding=pooled[i : i + 1]) for i in range(3))
    terms = [
        Term(glide, prompt, null, weight=weight)
        for prompt, weight in zip(prompts, about["inputs/weights"], strict=True)
    ]
    t = torch.tensor(float(about["inputs/t"]), dtype=torch.float64)
    alpha_t, sigma_t = schedule.alpha_sigma(t)
    x_t = values["inputs/x"].double()
    x0 = ProductDenoiser(terms)(x_t / alpha_t, schedule.sigma(t))
    eps = (x_t - alpha_t * x0) / sigma_t
    torch.testing.assert_close(eps.float(), values["outputs/composed_eps"], atol=1e-4, rtol=0)


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


def test_files_in_half_precision_keep_norms_and_embeddings_in_float32():
    network = tiny(num_classes=10, context_dim=None)
    x, t, labels = torch.randn(1, 3, 16, 16), torch.tensor([100.0]), torch.tensor([3])
    full = network(x, t, labels=labels)
    for stages in (network.input_blocks, network.middle_block, network.output_blocks):
        for layer in stages.modules():
            if isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d):
                layer.half()
    mixed = network(x, t, labels=labels)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, full, atol=5e-3, rtol=0)


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


def test_the_configuration_survives_its_plain_form():
    config = UNetConfig(channel_mult=(0.5, 1), film_dim=512)
    assert UNetConfig.from_dict({**asdict(config), "channel_mult": [0.5, 1]}) == config


@pytest.mark.parametrize("size", [64, 48])
def test_the_image_encoder_takes_any_size_and_sees_the_picture(size):
    encoder = ImageEncoder(dim=16, width=8).eval().requires_grad_(False)
    black, white = encoder(torch.stack([-torch.ones(3, size, size), torch.ones(3, size, size)]))
    assert black.shape == (16,)
    assert not torch.allclose(black, white)

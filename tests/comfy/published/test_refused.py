"""What an expert cannot use, refused when a node or a run gets it."""

from types import SimpleNamespace

import pytest
import torch

from .given import TEXTS, draw, half, picture


@pytest.mark.parametrize(
    ("name", "node_id", "inputs", "sentence"),
    [
        (
            "upsample.pt",
            "MCDM_EncodeInpaint",
            {"image": picture(), "mask": half("face")},
            "not by a picture to fill in",
        ),
        ("base.pt", "MCDM_EncodeLowRes", {"image": picture()}, "not by a small picture"),
        ("64_256_upsampler.pt", "MCDM_EncodeLowRes", {"image": picture()}, "a class beside the picture and got none"),
        ("upsample.pt", "MCDM_EncodeLowRes", {"image": picture() * 255}, "values from 0 to 1"),
        ("64x64_diffusion.pt", "MCDM_EncodeClass", {"class_name": "crane", "null_kind": "class 0"}, "134.*517"),
    ],
)
def test_what_an_expert_cannot_use_is_refused(told, name, node_id, inputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        told(name, node_id, **inputs)


def test_conditions_of_other_experts_are_refused(told, face, node, chain, sample, load):
    text = told("base.pt", "MCDM_EncodeText", text=TEXTS[0])
    upsampler = told("upsample.pt", "MCDM_EncodeText", text=TEXTS[0])
    with pytest.raises(ValueError, match="Expected a prompt of the same expert"):
        told(upsampler, "MCDM_EncodeLowRes", image=picture(), condition=text.condition)
    with pytest.raises(ValueError, match="a conditioning without one; connect Encode Low Resolution"):
        draw(sample, chain(upsampler), size=64)
    merged = {"mask": half("face"), "map": "face", "with_text": False}
    with pytest.raises(ValueError, match="Expected a prompt of the same expert"):
        node("MCDM_EncodeMap", encoder=face("face").encoder, **merged, condition=text.condition)
    shipped = load("text")
    with pytest.raises(ValueError, match=r"driven by text.* made for one driven by GLIDE's text"):
        draw(sample, chain(SimpleNamespace(**{**vars(shipped), "condition": text.condition})))


def test_a_class_of_another_expert_is_refused(told, load, refused):
    imagenet = told("64x64_diffusion.pt", "MCDM_EncodeClass", class_name="999", null_kind="class 0")
    assert "ImageNet's 1000 classes" in refused(load("class"), condition=imagenet.condition)
    assert "any, Fox, owl and 1 more" in refused(imagenet, condition=load("class").condition)


def test_more_pictures_than_latents_are_refused(upsampler, refused):
    three = upsampler(torch.cat([picture(seed) for seed in range(3)]))
    assert "3 rows for a latent of 1" in refused(three, size=64)


def test_pictures_are_shared_out_evenly(upsampler, chain, sample):
    two = upsampler(torch.cat([picture(seed) for seed in range(2)]))
    assert sample(chain(two), {"samples": torch.zeros(4, 3, 64, 64)}, "euler", 1).isfinite().all()


def test_a_null_without_the_picture_is_refused(told, upsampler, refused):
    text = told("base_inpaint.pt", "MCDM_EncodeText", text=TEXTS[0])
    inputs = {"image": picture(), "mask": half("face"), "condition": text.condition, "null": text.null}
    filled = told(text, "MCDM_EncodeInpaint", **inputs)
    assert "connect Encode Inpainting" in refused(filled, null=text.null)


def test_half_a_text_is_refused(told, refused):
    text = told("base.pt", "MCDM_EncodeText", text=TEXTS[0])
    ((tokens, values),) = text.condition
    without = [[tokens, {key: value for key, value in values.items() if key != "pooled_output"}]]
    assert "without its embedding" in refused(text, condition=without)
    assert "not as its encoder made it" in refused(text, condition=[[torch.randn(1, 5, 7), values]])

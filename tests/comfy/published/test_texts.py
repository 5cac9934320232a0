"""Texts as tokens, and classes by their names."""

from types import SimpleNamespace

import comfy.model_management
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import nodes

from .given import TEXTS, condition_of, draw, picture


def test_no_text_is_the_null(told, chain, predict):
    silent = told("base.pt", "MCDM_EncodeText", text="")
    spoken = told("base.pt", "MCDM_EncodeText", text=TEXTS[0])
    assert torch.equal(predict(chain((silent, {"weight": 1.0}))), predict(chain((spoken, {"weight": 0.0}))))


def test_texts_can_be_averaged_by_comfyui(told, chain, predict):
    first, second = (told("base.pt", "MCDM_EncodeText", text=text) for text in TEXTS)
    average = nodes.ConditioningAverage().addWeighted

    def mixed(strength):
        (condition,) = average(first.condition, second.condition, strength)
        return predict(chain(SimpleNamespace(**{**vars(first), "condition": condition})))

    assert torch.equal(mixed(1.0), predict(chain(first)))
    torch.testing.assert_close(mixed(0.0), predict(chain(second)), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(mixed(0.5), mixed(1.0), atol=1e-3)


def test_captions_of_a_shipped_expert_can_be_averaged(load, node, chain, predict):
    """They have no tokens to average, only an embedding."""
    expert = load("text")
    first, second = (node("MCDM_EncodeText", encoder=expert.encoder, text=text)[0] for text in ("red hair", "a beard"))

    def mixed(strength):
        (condition,) = nodes.ConditioningAverage().addWeighted(first, second, strength)
        return predict(chain(SimpleNamespace(**{**vars(expert), "condition": condition})))

    assert torch.equal(mixed(0.0), predict(chain(SimpleNamespace(**{**vars(expert), "condition": second}))))
    assert not torch.equal(mixed(0.5), mixed(1.0))


def test_comfyui_manages_the_text_transformer(open_expert, node):
    encoder = open_expert("base.pt").encoder
    node("MCDM_EncodeText", encoder=encoder, text=TEXTS[0])
    loaded = [entry.model for entry in comfy.model_management.current_loaded_models]
    assert encoder.transformer.patcher in loaded


def test_texts_share_a_batch_with_their_null(told, chain, sample, passes):
    expert = told("base.pt", "MCDM_EncodeText", text=TEXTS[0])
    other = told(expert, "MCDM_EncodeText", text=TEXTS[1])
    passes.watch(expert)
    draw(sample, chain(expert, other), steps=1)
    assert [call.rows for call in passes.found] == [3]


@pytest.mark.parametrize("name", ["tabby", "Tabby, tabby cat", "n02123045", "281"])
def test_imagenet_classes_have_names(open_expert, node, name):
    encoder = open_expert("64x64_diffusion.pt").encoder
    condition, _ = node("MCDM_EncodeClass", encoder=encoder, class_name=name, null_kind="class 0")
    assert condition_of(condition).labels.tolist() == [281]


def test_an_unconditional_expert_lends_its_null(open_expert, told, chain, sample):
    """Its null need not be wired, and may be any conditioning: it listens to none."""
    by_class = told("64x64_diffusion.pt", "MCDM_EncodeClass", class_name="281", null_kind="class 0")
    free = SimpleNamespace(**vars(open_expert("256x256_diffusion_uncond.pt")), condition=None, null=None)
    lender = (free, {"weight": 0.0, "reliability": 1.0})
    own = (by_class, {"weight": 3.0, "reliability": 1.0})
    borrowed = (by_class, {"weight": 3.0, "reliability": 0.0, "null": None})
    other = [[torch.randn(1, 5, 7), {}]]
    result = draw(sample, chain(borrowed, lender))
    assert not torch.equal(result, draw(sample, chain(own)))
    assert torch.equal(result, draw(sample, chain(borrowed, (free, {**lender[1], "null": other}))))


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", ["model_sketch.pt", "base.pt", "model_latest.pt"])
def test_half_precision_files_are_sampled(told, chain, sample, base, published, name):
    """As the published files have it: convolutions in half precision, all else not."""
    folder = base / "models" / "mcdm"
    with safe_open(folder / name, "pt") as file:
        metadata = file.metadata()
    tensors, blocks = load_file(folder / name), ("input_blocks.", "middle_block.", "output_blocks.")
    layers = {key.removesuffix(".weight") for key in tensors if key.startswith(blocks) and tensors[key].ndim > 2}
    halved = {key: value.half() if key.rsplit(".", 1)[0] in layers else value for key, value in tensors.items()}
    save_file(halved, folder / "half.safetensors", metadata=metadata)
    drawing = {"image": picture(), "mode": "drawing light on dark", "low_threshold": 100.0, "high_threshold": 200.0}
    node_id, inputs = {
        "model_sketch.pt": ("MCDM_EncodeSketch", drawing),
        "base.pt": ("MCDM_EncodeText", {"text": TEXTS[0]}),
        "model_latest.pt": ("MCDM_EncodeText", {"text": "a man with a beard"}),
    }[name]
    halved, whole = (draw(sample, chain(told(file, node_id, **inputs))) for file in ("half.safetensors", name))
    assert 0 < (halved - whole).abs().mean() < 0.01


def test_scaled_noise(node):
    latent = {"samples": torch.zeros(2, 3, 8, 8), "batch_index": [3, 1]}
    (noise,) = node("MCDM_RandomNoise", noise_seed=4, temperature=0.98)
    assert noise.seed == 4
    assert torch.equal(noise.generate_noise(latent), 0.98 * custom.Noise_RandomNoise(4).generate_noise(latent))


def test_an_unconditional_expert_can_be_the_model(open_expert, told, chain, node, guide):
    """Its null need not be wired in a guider that has no socket for it."""
    by_class = told("64x64_diffusion.pt", "MCDM_EncodeClass", class_name="281", null_kind="class 0")
    free = open_expert("256x256_diffusion_uncond.pt")
    experts = chain((by_class, {"weight": 2.0, "reliability": 0.0, "null": None}))
    (model,) = node("MCDM_ProductModel", model=free.model, reliability=1.0, experts=experts)
    (guider,) = custom.BasicGuider().get_guider(model, by_class.condition)
    assert guide(guider=guider, sigmas=(20.0, 1.0, 0.0)).isfinite().all()

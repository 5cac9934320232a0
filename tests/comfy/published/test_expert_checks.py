"""What can be known of a prompt when it is queued."""

import pytest
from mcdm_pack.mcdm_core.networks import TextTransformer

from ..support.server.posts import apply_check, prompt_node
from .given import LINK, TEXTS


@pytest.mark.parametrize(
    ("name", "node_id", "inputs"),
    [
        ("base.pt", "MCDM_EncodeText", {"text": TEXTS[0]}),
        ("model_latest.pt", "MCDM_EncodeText", {"text": TEXTS[0]}),
        ("64x64_diffusion.pt", "MCDM_EncodeClass", {"class_name": "tabby"}),
        (
            "model_latest.pt",
            "MCDM_EncodeMap",
            {"map": "face", "image": LINK, "with_text": True, "map_order": "hair, face"},
        ),
        ("upsample.pt", "MCDM_EncodeLowRes", {"image": LINK}),
        ("64_256_upsampler.pt", "MCDM_EncodeLowRes", {"image": LINK, "condition": LINK}),
        ("upsample_inpaint.pt", "MCDM_EncodeInpaint", {"image": LINK, "mask": LINK}),
    ],
)
def test_what_suits_the_expert_passes_at_post(validate, name, node_id, inputs):
    assert validate(name, node_id, **inputs) is True


@pytest.mark.parametrize(
    ("name", "node_id", "inputs", "sentence"),
    [
        ("64x64_diffusion.pt", "MCDM_EncodeText", {"text": TEXTS[0]}, "not by text"),
        ("64x64_diffusion.pt", "MCDM_EncodeClass", {"class_name": "tabbi"}, "tabby"),
        ("model_latest.pt", "MCDM_EncodeMap", {"map": "auto"}, "choose one of"),
        ("model_sketch.pt", "MCDM_EncodeMap", {"map": "face"}, "not by a segmentation map"),
        ("base.pt", "MCDM_EncodeLowRes", {"image": LINK}, "not by a small picture"),
        ("64_256_upsampler.pt", "MCDM_EncodeLowRes", {"image": LINK}, "a class beside the picture and got none"),
        ("base.pt", "MCDM_EncodeInpaint", {"image": LINK, "mask": LINK}, "not by a picture to fill in"),
    ],
)
def test_what_does_not_is_refused_at_post(validate, name, node_id, inputs, sentence):
    assert sentence in str(validate(name, node_id, **inputs))


@pytest.mark.parametrize(
    ("given", "said"), [({}, "neither"), ({"image": LINK, "mask": LINK}, "both"), ({"mask": LINK}, "")]
)
def test_a_map_is_one_picture(validate, given, said):
    answer = validate("model_latest.pt", "MCDM_EncodeMap", map="hair", **given)
    assert f"Expected either an image or a mask and got {said}" in answer if said else answer is True


def test_the_order_of_maps_and_text_are_the_face_networks_alone(validate, small_experts):
    assert "leave the order" in validate(small_experts["hair"], "MCDM_EncodeMap", map="hair", map_order="hair, face")
    assert "reads no text" in validate(small_experts["hair"], "MCDM_EncodeMap", map="hair", with_text=True)


def loader(name):
    return prompt_node("MCDM_LoadExpert", expert_name=name)


def encode(kind, load, **inputs):
    return prompt_node(f"MCDM_Encode{kind}", encoder=[load, 1], **inputs)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"small": encode("LowRes", "up", image=LINK, condition=["base text", 0], null=["text", 1])}, "made for one"),
        ({"expert": {"condition": ["text", 0]}}, "its positive has none; connect Encode Low Resolution"),
        ({"expert": {"null": ["text", 1]}}, "its negative has none; connect Encode Low Resolution"),
        ({"expert": {"condition": LINK}}, None),
    ],
)
def test_an_upsampler_without_its_picture_is_refused_at_post(host, published, changes, sentence):
    prompt = {
        "up": loader("upsample.pt"),
        "base": loader("base.pt"),
        "text": encode("Text", "up", text=TEXTS[0]),
        "base text": encode("Text", "base", text=TEXTS[0]),
        "small": encode("LowRes", "up", image=LINK, condition=["text", 0], null=["text", 1]),
        "expert": prompt_node("MCDM_Expert", model=["up", 0], weight=1.0),
    }
    prompt["expert"]["inputs"] |= {"condition": ["small", 0], "null": ["small", 1], **changes.pop("expert", {})}
    prompt |= changes
    found = [
        apply_check(host, host.prompt.expert_checks.check_encoder, prompt, "small", "low resolution"),
        apply_check(host, host.prompt.expert_checks.check_expert, prompt, "expert"),
    ]
    refusals = [fault.sentence for fault in found if fault is not None]
    assert refusals == [] if sentence is None else sentence in refusals[0]


def test_conditions_wired_in_a_circle_are_left_to_comfyui(host, published):
    prompt = {
        "up": loader("upsample.pt"),
        "first": encode("LowRes", "up", image=LINK, condition=["second", 0]),
        "second": encode("LowRes", "up", image=LINK, condition=["first", 0]),
        "expert": prompt_node("MCDM_Expert", model=["up", 0], weight=1.0, condition=["first", 0]),
    }
    assert apply_check(host, host.prompt.expert_checks.check_expert, prompt, "expert") is None


@pytest.mark.parametrize(
    ("model", "refused"),
    [("free", False), ("behind", False), ("unknown", False), ("text", True), ("checkpoint", True), ("lora", True)],
)
def test_a_null_is_missed_at_post_only_where_it_is_needed(host, core, published, model, refused):
    """An unconditional expert needs none, also where another node stands between it and the product."""
    numbers = {"reliability": 1.0, "start": 0.0, "end": 1.0}
    prompt = {
        "free": loader("256x256_diffusion_uncond.pt"),
        "behind": prompt_node("DifferentialDiffusion", model=["free", 0]),
        "text": loader("base.pt"),
        "unknown": prompt_node("SomeLoader"),
        "lora": prompt_node("LoraLoaderModelOnly", model=["checkpoint", 0]),
        "checkpoint": prompt_node("CheckpointLoaderSimple", ckpt_name="some.safetensors"),
        "expert": prompt_node("MCDM_Expert", model=[model, 0], weight=0.0, **numbers),
        "guider": prompt_node("MCDM_Guider", experts=["expert", 0]),
    }
    rules = (core.product.rules.eq10.EQ10, core.product.rules.own_null.OWN_NULL)
    answers = [apply_check(host, host.prompt.chain_checks.check_chain, prompt, "guider", rule) for rule in rules]
    assert ["needs a negative" in str(answer) for answer in answers] == [refused, refused]


def test_validation_runs_no_text_transformer(validate, core, monkeypatch):
    monkeypatch.setattr(TextTransformer, "forward", lambda *_: pytest.fail("the transformer ran"))
    assert validate("upsample.pt", "MCDM_EncodeLowRes", image=LINK) is True
    assert validate("upsample.pt", "MCDM_EncodeText", text=TEXTS[0]) is True


def test_a_linked_kind_of_map_is_left_to_the_run(validate):
    assert validate("model_latest.pt", "MCDM_EncodeMap", map=LINK, mask=LINK) is True

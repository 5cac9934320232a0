"""The published experts in the nodes: texts as tokens, the face network's rows, pictures to enlarge and to fill in."""

import shutil
from types import SimpleNamespace

import pytest
import torch

TEXTS = ("a red panda on a rock", "a lighthouse at night")


@pytest.fixture(scope="session")
def published(pack, base):
    """Small files of the published layouts among ComfyUI's models."""
    from .published_files import write_published

    write_published(base / "models" / "mcdm")


@pytest.fixture
def open_expert(node, published):
    """Load a published expert: its model, encoder and VAE."""

    def load(name):
        model, encoder, vae = node("MCDM_LoadExpert", expert_name=name)
        return SimpleNamespace(model=model, encoder=encoder, vae=vae)

    return load


@pytest.fixture
def told(open_expert, node):
    """An expert with the outputs of a node as its condition and null."""

    def tell(expert, node_id, **inputs):
        expert = open_expert(expert) if isinstance(expert, str) else expert
        condition, null, *_ = node(node_id, encoder=expert.encoder, **inputs)
        return SimpleNamespace(**{**vars(expert), "condition": condition, "null": null})

    return tell


@pytest.fixture
def face(told):
    """The face network under one condition: a map by its kind, or a text."""
    network = None

    def tell(kind, with_text=True, **more):
        nonlocal network
        source = network or "model_latest.pt"
        if kind == "text":
            network = told(source, "MCDM_EncodeText", text="a woman with blonde hair")
        else:
            inputs = {"mask": half(kind), "map": kind, "with_text": with_text, **more}
            network = told(source, "MCDM_EncodeMap", **inputs)
        return network

    return tell


@pytest.fixture
def validate(host, node, published):
    """What ComfyUI is told at POST of a node whose encoder comes from a loader."""

    def ask(name, node_id, **inputs):
        encoder = {"class_type": "MCDM_LoadExpert", "inputs": {"expert_name": name}}
        asked = {"class_type": node_id, "inputs": {"encoder": ["load", 1], **inputs}}
        host.prompt.remember_prompt({"prompt": {"load": encoder, "node": asked}})
        given = {
            "MCDM_EncodeText": "text",
            "MCDM_EncodeClass": "class",
            "MCDM_EncodeMap": "map",
            "MCDM_EncodeLowRes": "low resolution",
            "MCDM_EncodeInpaint": "inpainting",
        }[node_id]
        return host.prompt.check_encoder("node", given)

    yield ask
    host.prompt.remember_prompt({})


def half(kind, size=32):
    mask = torch.zeros(1, size, size)
    mask[..., : size // 2] = 1.0
    return mask if kind == "face" else mask.transpose(1, 2)


def picture(seed=0, size=32):
    return torch.rand(1, size, size, 3, generator=torch.Generator().manual_seed(seed))


def condition_of(conditioning):
    return conditioning[0][1]["mcdm_condition"]


def draw(sample, experts, size=32, steps=2):
    return sample(experts, {"samples": torch.zeros(1, 3, size, size)}, "euler", steps)


def test_a_text_reaches_the_network(told, chain, sample):
    first, second = (told("base.pt", "MCDM_EncodeText", text=text) for text in TEXTS)
    assert not torch.equal(draw(sample, chain(first)), draw(sample, chain(second)))


def test_no_text_is_the_null(told, chain, predict):
    silent = told("base.pt", "MCDM_EncodeText", text="")
    spoken = told("base.pt", "MCDM_EncodeText", text=TEXTS[0])
    assert torch.equal(predict(chain((silent, {"weight": 1.0}))), predict(chain((spoken, {"weight": 0.0}))))


def test_texts_can_be_averaged_by_comfyui(told, chain, predict):
    import nodes

    first, second = (told("base.pt", "MCDM_EncodeText", text=text) for text in TEXTS)
    average = nodes.ConditioningAverage().addWeighted

    def mixed(strength):
        (condition,) = average(first.condition, second.condition, strength)
        return predict(chain(SimpleNamespace(**{**vars(first), "condition": condition})))

    assert torch.equal(mixed(1.0), predict(chain(first)))
    torch.testing.assert_close(mixed(0.0), predict(chain(second)), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(mixed(0.5), mixed(1.0), atol=1e-3)


def test_comfyui_manages_the_text_transformer(open_expert, node):
    import comfy.model_management

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


def test_class_and_text_are_united(told, chain, sample):
    by_class = told("64x64_diffusion.pt", "MCDM_EncodeClass", class_name="281", null_kind="class 0")
    by_text = told("base.pt", "MCDM_EncodeText", text=TEXTS[0])
    both = draw(sample, chain((by_class, {"weight": 5.0, "reliability": 5.0}), (by_text, {"weight": 5.0})))
    assert both.isfinite().all()
    assert not torch.equal(both, draw(sample, chain((by_class, {"weight": 5.0}))))


@pytest.mark.parametrize("name", ["tabby", "Tabby, tabby cat", "n02123045", "281"])
def test_imagenet_classes_have_names(open_expert, node, name):
    encoder = open_expert("64x64_diffusion.pt").encoder
    condition, _ = node("MCDM_EncodeClass", encoder=encoder, class_name=name, null_kind="class 0")
    assert condition_of(condition).labels.tolist() == [281]


def test_one_row_says_maps_and_text(face, node):
    text, hair = face("text"), face("hair")
    (condition, null) = node(
        "MCDM_EncodeMap",
        encoder=hair.encoder,
        mask=half("face"),
        map="face",
        with_text=False,
        condition=node(
            "MCDM_EncodeMap",
            encoder=hair.encoder,
            mask=half("hair"),
            map="hair",
            with_text=False,
            condition=text.condition,
        )[0],
    )
    told = condition_of(condition)
    assert told.text_active
    assert condition_of(null).text_active
    assert torch.equal(told.embedding, condition_of(text.condition).embedding)
    assert torch.equal(told.maps, torch.cat([half("face").expand(3, -1, -1), half("hair").expand(3, -1, -1)])[None])
    assert not condition_of(null).maps.any()
    assert not condition_of(null).embedding.any()


def test_the_order_of_the_maps_can_be_swapped(face):
    usual, swapped = face("hair"), face("hair", map_order="hair, face")
    assert torch.equal(condition_of(swapped.condition).maps, condition_of(usual.condition).maps.roll(3, dims=1))


@pytest.mark.parametrize(("with_text", "calls"), [(True, [4]), (False, [2, 2])])
def test_rows_with_and_without_text_never_share_a_batch(face, chain, sample, passes, with_text, calls):
    """Three conditions and the null where text is on in all; else maps and their null apart from text and its null."""
    experts = [face("text"), face("face", with_text), *([face("hair", with_text)] if with_text else [])]
    passes.watch(experts[0])
    draw(sample, chain(*experts), steps=1)
    assert [call.rows for call in passes.found] == calls


def test_faces_and_a_sketch_are_united(face, told, chain, sample):
    inputs = {"mode": "drawing light on dark", "low_threshold": 100.0, "high_threshold": 200.0}
    sketch = told("model_sketch.pt", "MCDM_EncodeSketch", image=picture(), **inputs)
    experts = [face("face"), face("hair"), (face("text"), {"weight": 1.25})]
    released = chain(*experts, (sketch, {"weight": 0.6, "reliability": 0.0}))
    assert not torch.equal(draw(sample, released), draw(sample, chain(*experts)))


@pytest.fixture
def upsampler(told, node):
    """GLIDE's upsampler with a text and a picture."""

    def tell(image, text=TEXTS[0], name="upsample.pt"):
        expert = told(name, "MCDM_EncodeText", text=text)
        return told(expert, "MCDM_EncodeLowRes", image=image, condition=expert.condition, null=expert.null)

    return tell


def test_an_upsampler_reads_the_picture_and_keeps_the_text(upsampler, chain, sample):
    def enlarged(image, text=TEXTS[0]):
        return draw(sample, chain(upsampler(image, text)), size=64)

    usual = enlarged(picture(1))
    assert not torch.equal(usual, enlarged(picture(2)))
    assert not torch.equal(usual, enlarged(picture(1), TEXTS[1]))


def test_condition_and_null_hold_the_same_picture(upsampler, chain, sample, passes):
    expert = upsampler(picture(1))
    held = [condition_of(side).low_res for side in (expert.condition, expert.null)]
    assert torch.equal(*held)
    assert torch.equal(held[0], picture(1).movedim(-1, 1) * 2 - 1)
    passes.watch(expert)
    draw(sample, chain(expert), size=64, steps=1)
    assert [call.rows for call in passes.found] == [2]


def test_an_upsampler_alone_needs_no_text(told, chain, sample):
    alone = told("upsample.pt", "MCDM_EncodeLowRes", image=picture(1))
    assert torch.equal(alone.condition[0][0], alone.null[0][0])
    assert draw(sample, chain(alone), size=64).isfinite().all()


def test_a_batch_of_pictures_is_enlarged(upsampler, chain, sample):
    both = upsampler(torch.cat([picture(1), picture(2)]))
    latent = {"samples": torch.zeros(2, 3, 64, 64), "batch_index": [0, 0]}
    first, second = sample(chain(both), latent, "euler", 2)
    torch.testing.assert_close(first[None], draw(sample, chain(upsampler(picture(1))), 64), atol=1e-3, rtol=0)
    torch.testing.assert_close(second[None], draw(sample, chain(upsampler(picture(2))), 64), atol=1e-3, rtol=0)


def test_a_class_upsampler_keeps_the_class(told, chain, sample):
    def enlarged(name):
        expert = told("64_256_upsampler.pt", "MCDM_EncodeClass", class_name=name, null_kind="mean of all classes")
        expert = told(expert, "MCDM_EncodeLowRes", image=picture(1), condition=expert.condition, null=expert.null)
        return draw(sample, chain(expert), size=64)

    assert not torch.equal(enlarged("281"), enlarged("282"))


def test_an_area_of_the_enlarged_picture(upsampler, chain, sample):
    """The small picture is cut as the latent is, so that an area of the whole size is no area."""
    import nodes

    expert = upsampler(picture(1))

    def over(width):
        area = nodes.ConditioningSetArea().append
        found = {side: area(getattr(expert, side), 8 * width, 8 * 64, 0, 0, 1.0)[0] for side in ("condition", "null")}
        return draw(sample, chain(SimpleNamespace(**{**vars(expert), **found})), size=64)

    assert torch.equal(over(64), draw(sample, chain(expert), size=64))
    assert over(32).isfinite().all()


@pytest.mark.parametrize("name", ["base_inpaint.pt", "upsample_inpaint.pt"])
def test_inpainting(told, chain, sample, name):
    size = 32 if name == "base_inpaint.pt" else 64

    def filled(mask, seed=1):
        expert = told(name, "MCDM_EncodeText", text=TEXTS[0])
        inputs = {"condition": expert.condition, "null": expert.null}
        expert = told(expert, "MCDM_EncodeInpaint", image=picture(seed, size), mask=mask, **inputs)
        if size == 64:
            inputs = {"condition": expert.condition, "null": expert.null}
            expert = told(expert, "MCDM_EncodeLowRes", image=picture(seed), **inputs)
        maps = condition_of(expert.condition).maps
        assert torch.equal(maps, condition_of(expert.null).maps)
        known = picture(seed, size).movedim(-1, 1) * 2 - 1
        assert torch.equal(maps, torch.cat([known * (1 - mask), 1 - mask[:, None]], dim=1))
        return draw(sample, chain(expert), size)

    everything, some = (filled(mask) for mask in (torch.ones(1, size, size), half("face", size)))
    assert not torch.equal(everything, some)


def test_an_unconditional_expert_lends_its_null(open_expert, told, chain, sample):
    """Its null may be any conditioning: it listens to none."""
    by_class = told("64x64_diffusion.pt", "MCDM_EncodeClass", class_name="281", null_kind="class 0")
    free = SimpleNamespace(**vars(open_expert("256x256_diffusion_uncond.pt")), condition=None, null=by_class.null)
    lender = (free, {"weight": 0.0, "reliability": 1.0})
    own = (by_class, {"weight": 3.0, "reliability": 1.0})
    borrowed = (by_class, {"weight": 3.0, "reliability": 0.0, "null": None})
    other = [[torch.randn(1, 5, 7), {}]]
    result = draw(sample, chain(borrowed, lender))
    assert not torch.equal(result, draw(sample, chain(own)))
    assert torch.equal(result, draw(sample, chain(borrowed, (free, {**lender[1], "null": other}))))


def test_half_precision_files_are_sampled(open_expert, node, chain, sample, base, published):
    """As the published files have it: convolutions in half precision, all else not."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    folder = base / "models" / "mcdm"
    with safe_open(folder / "model_sketch.pt", "pt") as file:
        metadata = file.metadata()
    tensors, blocks = load_file(folder / "model_sketch.pt"), ("input_blocks.", "middle_block.", "output_blocks.")
    layers = {name.removesuffix(".weight") for name in tensors if name.startswith(blocks) and tensors[name].ndim > 2}
    halved = {name: value.half() if name.rsplit(".", 1)[0] in layers else value for name, value in tensors.items()}
    save_file(halved, folder / "half.safetensors", metadata=metadata)
    inputs = {"image": picture(), "mode": "drawing light on dark", "low_threshold": 100.0, "high_threshold": 200.0}

    def drawn(name):
        expert = open_expert(name)
        expert.condition, expert.null, _ = node("MCDM_EncodeSketch", encoder=expert.encoder, **inputs)
        return draw(sample, chain(expert))

    difference = (drawn("half.safetensors") - drawn("model_sketch.pt")).abs()
    assert 0 < difference.mean() < 0.005


def test_scaled_noise(node):
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

    latent = {"samples": torch.zeros(2, 3, 8, 8), "batch_index": [3, 1]}
    (noise,) = node("MCDM_RandomNoise", noise_seed=4, temperature=0.98)
    assert noise.seed == 4
    assert torch.equal(noise.generate_noise(latent), 0.98 * Noise_RandomNoise(4).generate_noise(latent))


def test_farl_is_asked_for_where_it_is_missing_and_found_when_it_comes(told, validate, node, base, tmp_path):
    from .published_files import FARL

    path, loader = base / "models" / "mcdm" / FARL, node.classes["MCDM_LoadExpert"]
    before = loader.fingerprint_inputs("model_latest.pt")
    shutil.move(path, tmp_path / FARL)
    try:
        assert "reads texts with FaRL" in validate("model_latest.pt", "MCDM_EncodeText", text="a man")
        assert loader.fingerprint_inputs("model_latest.pt") != before
        with pytest.raises(ValueError, match=r"model_latest\.pt reads texts with FaRL"):
            told("model_latest.pt", "MCDM_EncodeText", text="a man")
    finally:
        shutil.move(tmp_path / FARL, path)
    assert validate("model_latest.pt", "MCDM_EncodeText", text="a man") is True
    assert loader.fingerprint_inputs("model_latest.pt") == before


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
    with pytest.raises(ValueError, match="Expected a condition of the same expert"):
        told(upsampler, "MCDM_EncodeLowRes", image=picture(), condition=text.condition)
    with pytest.raises(ValueError, match="a condition without one; connect Encode Low Resolution"):
        draw(sample, chain(upsampler), size=64)
    merged = {"mask": half("face"), "map": "face", "with_text": False}
    with pytest.raises(ValueError, match="Expected a condition of the same expert"):
        node("MCDM_EncodeMap", encoder=face("face").encoder, **merged, condition=text.condition)
    with pytest.raises(ValueError, match="one entry and got 2"):
        node("MCDM_EncodeMap", encoder=face("face").encoder, **merged, condition=face("hair").condition * 2)
    shipped = load("text")
    with pytest.raises(ValueError, match=r"driven by text.* made for one driven by GLIDE's text"):
        draw(sample, chain(SimpleNamespace(**{**vars(shipped), "condition": text.condition})))


LINK = ["somewhere", 0]


@pytest.mark.parametrize(
    ("name", "node_id", "inputs"),
    [
        ("base.pt", "MCDM_EncodeText", {"text": TEXTS[0]}),
        ("model_latest.pt", "MCDM_EncodeText", {"text": TEXTS[0]}),
        ("64x64_diffusion.pt", "MCDM_EncodeClass", {"class_name": "tabby"}),
        ("model_latest.pt", "MCDM_EncodeMap", {"map": "face", "with_text": True, "map_order": "hair, face"}),
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


def test_the_order_of_maps_and_text_are_the_face_networks_alone(validate, small_experts):
    assert "leave the order" in validate(small_experts["hair"], "MCDM_EncodeMap", map="hair", map_order="hair, face")
    assert "reads no text" in validate(small_experts["hair"], "MCDM_EncodeMap", map="hair", with_text=True)

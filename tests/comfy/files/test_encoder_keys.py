"""A condition fits the expert that it was made for, not another one of which people would say the same."""

from types import SimpleNamespace

import pytest
import torch
from mcdm_pack.mcdm_core import networks

from ..support.server.posts import apply_check

CLASSES = {"pets": ("any", "fox", "owl", "dog", "cat"), "insects": ("any", "fox", "owl", "bee", "ant")}
INPUTS = {
    "MCDM_EncodeClass": {"class_name": "fox", "null_kind": "class 0"},
    "MCDM_EncodeText": {"text": "a fox"},
    "MCDM_EncodeMap": {"map": "auto", "with_text": False, "mask": torch.ones(1, 32, 32)},
}


@pytest.fixture(scope="module")
def files(core, base):
    """Node that encodes for it, by the name of each expert: alike in what people say of them, but for their content."""

    def save(name, node_id, condition, tower=None, half=False, **shape):
        config = core.UNetConfig(
            model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamplings=(2,), patch=2, **shape
        )
        network = core.UNet(config)
        parts = [part.half() if half else part for part in (network, tower) if part is not None]
        metadata = core.ExpertMetadata(name, config, image_size=32, condition=condition)
        core.save_expert(base / "models" / "mcdm" / f"made_for_{name}.safetensors", parts[0], metadata, *parts[1:])
        return node_id

    def text(name, seed, half=False):
        torch.manual_seed(seed)
        tower = networks.TextTower(networks.TextTowerConfig(("a", "fox"), 16, 2, 1, dim=8, lexicon="plain"))
        condition = {"kind": "text", "text_encoder": tower.config.to_dict()}
        return save(name, "MCDM_EncodeText", condition, tower, half, pooled_dim=8)

    def classes(name, names):
        return save(name, "MCDM_EncodeClass", {"kind": "class", "classes": list(names)}, num_classes=len(names))

    def hair(name, **more):
        return save(name, "MCDM_EncodeMap", {"kind": "map", "map": "hair", **more}, map_channels=1)

    return {
        **{name: classes(name, names) for name, names in CLASSES.items()},
        "pets elsewhere": classes("pets elsewhere", CLASSES["pets"]),
        "one tower": text("one tower", 1),
        "another tower": text("another tower", 2),
        "one tower in half": text("one tower in half", 1, half=True),
        "hair": hair("hair"),
        "hair on gray": hair("hair on gray", background=-1.0),
        "hair elsewhere": hair("hair elsewhere"),
    }


@pytest.fixture
def at_post(host, files):
    """What ComfyUI is told at POST of an expert under another's condition and null."""

    def ask(expert, made_for):
        loaders = {
            place: {"class_type": "MCDM_LoadExpert", "inputs": {"expert_name": f"made_for_{name}.safetensors"}}
            for place, name in (("own", expert), ("other", made_for))
        }
        told = {"class_type": files[made_for], "inputs": {"encoder": ["other", 1]}}
        asked = {"model": ["own", 0], "weight": 1.0, "condition": ["told", 0], "null": ["told", 1]}
        prompt = {**loaders, "told": told, "expert": {"class_type": "MCDM_Expert", "inputs": asked}}
        fault = apply_check(host, host.prompt.expert_checks.check_expert, prompt, "expert")
        return True if fault is None else fault.sentence

    return ask


@pytest.fixture
def in_the_run(node, files, chain, sample):
    """Sample an expert under another's condition and null."""

    def run(expert, made_for):
        (model, _, _), (_, encoder, _) = (
            node("MCDM_LoadExpert", expert_name=f"made_for_{name}.safetensors") for name in (expert, made_for)
        )
        condition, null = node(files[made_for], encoder=encoder, **INPUTS[files[made_for]])
        alone = chain((SimpleNamespace(model=model, condition=condition, null=null), {"weight": 2.0}))
        return sample(alone, {"samples": torch.zeros(1, 3, 32, 32)}, steps=1)

    return run


APART = [
    ("pets", "insects", "and 2 more, with other classes (bee, ant)"),
    ("insects", "pets", "and 2 more, with other classes (dog, cat)"),
    ("one tower", "another tower", "text about plain, with another text encoder"),
    ("another tower", "one tower in half", "text about plain, with another text encoder"),
    ("hair", "hair on gray", "a hair map, with black as -1 instead of 0"),
]
ALIKE = [
    ("pets", "pets elsewhere"),
    ("one tower", "one tower in half"),
    ("one tower in half", "one tower"),
    ("hair", "hair elsewhere"),
]


@pytest.mark.parametrize(("expert", "made_for", "sentence"), APART)
def test_another_content_behind_the_same_words_is_refused_at_post(at_post, expert, made_for, sentence):
    assert sentence in str(at_post(expert, made_for))


@pytest.mark.parametrize(("expert", "made_for", "sentence"), APART)
def test_another_content_behind_the_same_words_is_refused_in_the_run(in_the_run, expert, made_for, sentence):
    with pytest.raises(ValueError, match="Wrong positive") as error:
        in_the_run(expert, made_for)
    assert sentence in str(error.value)


@pytest.mark.parametrize(("expert", "made_for"), ALIKE)
def test_the_same_content_from_another_file_fits(at_post, in_the_run, expert, made_for):
    assert at_post(expert, made_for) is True
    assert in_the_run(expert, made_for).isfinite().all()

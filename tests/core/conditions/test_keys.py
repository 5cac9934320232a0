"""What tells encoders apart is what their conditions hold, not what people say of them."""

from dataclasses import replace

import pytest
import torch

from mcdm_core.conditions import (
    Encoder,
    EncoderKey,
    MapEncoder,
    MultiMapEncoder,
    SketchEncoder,
    TextEncoder,
    build_encoder,
)
from mcdm_core.conditions import key as keys
from mcdm_core.networks import TextTower, TextTowerConfig

from ...support.published.small_encoders import GLIDE, classes, face, farl, glide

PLAIN = TextTowerConfig(("a", "fox"), width=16, heads=2, layers=1, dim=8, lexicon="plain")
PETS, INSECTS = ("any", "fox", "owl", "dog", "cat"), ("any", "fox", "owl", "bee", "ant")


def text(seed: int = 0, dtype: torch.dtype = torch.float32, config: TextTowerConfig = PLAIN) -> Encoder:
    torch.manual_seed(seed)
    state = {name: tensor.to(dtype) for name, tensor in TextTower(config).state_dict().items()}
    return build_encoder({"kind": "text", "text_encoder": config.to_dict()}, 32, 3, state)


def named(*names: str, size: int = 32) -> Encoder:
    embeddings = {"label_emb.weight": torch.randn(len(names), 8)}
    return build_encoder({"kind": "class", "classes": list(names)}, size, 3, embeddings)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MapEncoder("hair", 32), MapEncoder("hair", 64)),
        (MapEncoder("face", 32), MapEncoder("skin", 32)),
        (MapEncoder("hair", 32), MultiMapEncoder(["hair"], 32)),
        (SketchEncoder(32), MultiMapEncoder(["sketch"], 32)),
        (named(*PETS), named(*PETS, size=64)),
        (named("any", "Fox"), named("any", "fox")),
        (text(), text()),
        (text(dtype=torch.float16), text()),
        (glide(), glide()),
        (face(), face(farl)),
        (face(), face().swapped()),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_the_same_content_has_one_key(one, other):
    assert one.key == other.key
    assert hash(one.key) == hash(other.key)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (named(*PETS), named(*INSECTS), "2 more, with other classes (bee, ant)"),
        (named(*PETS), named("any", "fox", "owl", "cat", "dog"), "2 more, with its classes in another order"),
        (text(0), text(1), "text about plain, with another text encoder"),
        (text(), text(config=replace(PLAIN, vocabulary=("a", "owl"))), "with another text encoder"),
        (text(), text(config=replace(PLAIN, heads=4)), "with another text encoder"),
        (MapEncoder("hair", 32), MapEncoder("hair", 32, background=-1.0), "a hair map, with black as -1 instead of 0"),
        (SketchEncoder(32), SketchEncoder(32, map_channels=3), "with channels per map 3 instead of 1"),
        (glide(), glide(replace(GLIDE, heads=4)), "GLIDE's text, with another text transformer"),
    ],
)
def test_what_people_would_call_the_same_is_told_apart(one, other, difference):
    assert one.driven_by == other.driven_by
    assert one.key != other.key
    assert one.key.describe(other.key).endswith(difference)


def test_what_they_call_another_needs_no_more_words():
    assert MapEncoder("hair", 32).key.describe(MapEncoder("skin", 32).key) == "a skin map"
    assert classes().key != classes(low_res=8).key
    assert Encoder(32).key == EncoderKey("nothing", (("condition", "none"),))


def test_of_many_new_classes_some_are_listed():
    one, other = (named("any", "fox", "owl", *(f"{kind} {i}" for i in range(9))) for kind in ("dog", "cat"))
    assert one.key.describe(other.key).endswith("with other classes (cat 0, cat 1, cat 2, cat 3, cat 4, …)")


def test_weights_are_read_once(monkeypatch):
    calls, read = [], keys.fingerprint
    monkeypatch.setattr(
        "mcdm_core.conditions.captions.fingerprint", lambda *args: calls.append(1) or read(*args), raising=True
    )
    encoder = text()
    assert calls == []
    assert encoder.key == encoder.key
    assert calls == [1]


def test_of_a_large_transformer_little_is_read():
    """Its file is mapped into memory, and is not to be read through for a comparison."""
    one, other = (glide().transformer.state_dict() for _ in range(2))
    spec = {"kind": "tokens", "text_transformer": GLIDE.to_dict()}
    large = [name for name, tensor in other.items() if tensor.ndim > 1]
    assert len(large) >= 6
    for name in large:
        other[name] = torch.full_like(other[name], torch.nan)
    changed = {**one, "transformer_proj.bias": one["transformer_proj.bias"] + 1}
    first, unread, trained = (build_encoder(spec, 32, 3, state).key for state in (one, other, changed))
    assert first == unread
    assert first != trained


def test_a_face_encoder_has_its_key_before_its_text_tower():
    assert face(lambda: pytest.fail("the tower was loaded")).key == face().key


def test_a_tower_in_training_can_be_identified():
    assert TextEncoder(TextTower(PLAIN).double().train(), 32).key.content

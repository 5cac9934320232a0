"""Encoders: each takes its own kind of condition and refuses the others; kinds are known by a file's name for them."""

import pytest
import torch

from mcdm_core.conditions import Encoder, MapEncoder, SketchEncoder, build_encoder, encoder_of_kind, registry
from mcdm_core.conditions.reading.sketch import read_sketch
from mcdm_core.networks import TextTower, TextTowerConfig

from ...support.published.small_encoders import SIZE, SMALL, box, classes, face, glide, picture

TEXT_CONFIG = TextTowerConfig(width=32, dim=16, layers=1)
SPECS = {
    "none": {"kind": "none"},
    "map": {"kind": "map", "map": "hair"},
    "maps": {"kind": "maps", "maps": ["hair", "face", "sketch"]},
    "two maps": {"kind": "maps", "maps": ["hair", "skin"]},
    "sketch": {"kind": "sketch"},
    "text": {"kind": "text", "text_encoder": TEXT_CONFIG.to_dict()},
}
CALLS = {
    "text": lambda encoder: encoder.encode_text("sad"),
    "map": lambda encoder: encoder.encode_map(_mask(), "hair"),
    "sketch": lambda encoder: encoder.encode_sketch(_mask()),
}
READS = {"none": set(), "map": {"map"}, "maps": {"map", "sketch"}, "sketch": {"sketch"}, "text": {"text"}}


def _mask() -> torch.Tensor:
    mask = torch.zeros(2, 64, 64)
    mask[:, 10:30, 20:50] = 1
    return mask


def _build(kind: str) -> Encoder:
    torch.manual_seed(0)
    state = TextTower(TEXT_CONFIG).state_dict() if kind == "text" else None
    return build_encoder(SPECS[kind], 64, 3, state)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", READS)
def test_each_kind_reads_its_own_and_refuses_the_rest(kind, call):
    encoder = _build(kind)
    assert (encoder.kind, encoder.image_size, encoder.channels) == (kind, 64, 3)
    if call in READS[kind]:
        condition = CALLS[call](encoder)
        null = encoder.null(condition.rows)
        assert condition.signature == null.signature
        assert encoder.reads_maps == (condition.maps is not None)
        assert null.same_as(condition.null())
        assert not condition.same_as(null)
    else:
        with pytest.raises(ValueError, match="This expert is driven by") as error:
            CALLS[call](encoder)
        assert encoder.driven_by in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoder", [glide(), classes(), face(), Encoder(SIZE)], ids=lambda e: e.kind)
def test_experts_that_read_no_picture_beside_refuse_it(encoder):
    with pytest.raises(ValueError, match=f"driven by {encoder.driven_by}, not by a small picture"):
        encoder.encode_low_res(picture(SMALL))
    with pytest.raises(ValueError, match=f"driven by {encoder.driven_by}, not by a picture to fill in"):
        encoder.encode_inpaint(picture(SIZE), box(8))


@pytest.mark.parametrize("encoder", [Encoder(SIZE), glide(), classes(), _build("maps")], ids=lambda e: e.kind)
def test_what_the_face_network_alone_can_do_is_refused(encoder):
    with pytest.raises(ValueError, match=f"driven by {encoder.driven_by} and .* leave the order as it is"):
        encoder.swapped()
    if encoder.kind != "maps":
        with pytest.raises(ValueError, match="reads no text beside it; switch with_text off"):
            encoder.with_text(encoder.null())
        with pytest.raises(ValueError, match="reads one prompt at a time"):
            encoder.merge(encoder.null(), encoder.null())


@pytest.mark.parametrize(
    ("kind", "call", "message"),
    [
        ("map", CALLS["text"], "driven by a hair map, not by text; give it a hair map or load an expert"),
        ("map", lambda encoder: encoder.encode_map(_mask(), "face"), "driven by a hair map, not by a face map"),
        ("none", CALLS["text"], "driven by no prompt, not by text; leave its prompt unconnected"),
        (
            "none",
            lambda encoder: encoder.check_text(),
            "driven by no prompt, not by text; leave its prompt unconnected",
        ),
        ("maps", lambda encoder: encoder.encode(_mask()), "choose one of hair, skin"),
        ("maps", lambda encoder: encoder.encode_map(_mask(), "sketch"), "not by a sketch map"),
        ("maps", lambda encoder: encoder.encode_map(_mask(), "nose"), "not by a nose map"),
        ("two maps", CALLS["sketch"], "a hair map or a skin map, not by a sketch"),
    ],
)
def test_refusals_say_what_came_and_what_to_do(kind, call, message):
    with pytest.raises(ValueError, match=message):
        call(_build(kind))


@pytest.mark.parametrize("name", ["face", "skin"])
@pytest.mark.parametrize("kind", ["auto", "face", "skin"])
def test_face_means_the_skin_map(name, kind):
    encoder = MapEncoder(name, 64)
    assert encoder.driven_by == "a skin map"
    assert torch.equal(encoder.encode_map(_mask(), kind).maps[:, 0], _mask())


@pytest.mark.parametrize(("kind", "channel"), [("hair", 0), ("face", 1), ("skin", 1)])
def test_several_maps_have_a_channel_each(kind, channel):
    maps = _build("maps").encode_map(_mask(), kind).maps
    assert maps.shape == (2, 3, 64, 64)
    assert torch.equal(maps[:, channel], _mask())
    assert maps.sum() == _mask().sum()


def test_a_sketch_has_its_channel_too():
    maps = _build("maps").encode_sketch(_mask()).maps
    assert torch.equal(maps[:, 2:], _build("sketch").encode(_mask()).maps)
    assert not maps[:, :2].any()


def test_sketch_thresholds_reach_the_edge_finder():
    picture = torch.rand(1, 8, 8, 3, generator=torch.manual_seed(0)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    encoder = SketchEncoder(64)
    assert torch.equal(encoder.encode(picture, low=300, high=600).maps, read_sketch(picture, 64, low=300, high=600))
    assert encoder.encode(picture, low=300, high=600).maps.sum() < encoder.encode(picture).maps.sum()


def test_one_text_or_several():
    encoder = _build("text")
    assert torch.equal(encoder.encode("sad").embedding, encoder.encode(["sad"]).embedding)
    assert encoder.encode(["sad", ""]).embedding.shape == (2, 16)
    assert encoder.encode("").same_as(encoder.null())
    assert not encoder.encode("sad").embedding.requires_grad


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "incomplete"),
        ({}, "incomplete"),
        ({"kind": "map"}, "incomplete"),
        ({"kind": "text"}, "incomplete"),
        ({"kind": "text", "text_encoder": {**TEXT_CONFIG.to_dict(), "colour": 1}}, "missing or unknown .'colour'"),
        ({"kind": "smell"}, 'driven by "smell"'),
        ({"kind": ["map"]}, "knows only"),
    ],
)
def test_descriptions_that_cannot_be_used_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(spec, 64, 3)


@pytest.mark.parametrize("damage", ["missing", "unexpected", "reshaped"])
def test_tensors_that_do_not_fit_are_refused(damage):
    state = TextTower(TEXT_CONFIG).state_dict()
    if damage == "missing":
        del state["norm.weight"]
    elif damage == "unexpected":
        state["extra"] = torch.zeros(1)
    else:
        state["norm.weight"] = torch.zeros(3)
    with pytest.raises(ValueError, match="1 are missing, unexpected or of another shape"):
        build_encoder(SPECS["text"], 64, 3, state)


def test_encoders_say_what_they_are():
    assert repr(_build("map")) == "MapEncoder(a hair map, 64 px)"


KINDS = ("none", "map", "maps", "sketch", "text", "class", "tokens", "face")


@pytest.fixture
def kinds(monkeypatch):
    """The registered kinds, put back afterwards."""
    known = dict(registry._KINDS)
    monkeypatch.setattr(registry, "_KINDS", known)
    return known


def test_every_kind_that_files_name_is_registered(kinds):
    assert set(kinds) == set(KINDS)
    assert all(encoder_of_kind({"kind": kind}).kind == kind for kind in KINDS)


def test_a_new_kind_is_one_class(kinds):
    @registry.register
    class Smell(Encoder):
        kind = "smell"
        driven_by = "a smell"

        @classmethod
        def build(cls, given):
            cls.of = given.spec["of"]
            return cls(given.image_size)

    assert build_encoder({"kind": "smell", "of": "roses"}, 8, 3).of == "roses"
    with pytest.raises(ValueError, match=r"incomplete or has an unknown entry .'of'"):
        build_encoder({"kind": "smell"}, 8, 3)
    with pytest.raises(ValueError, match=r'driven by "taste", but this version knows only none, .* and smell; update'):
        build_encoder({"kind": "taste"}, 8, 3)

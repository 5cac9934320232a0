"""Held-out faces: what experts are told of them, and what is measured of pictures with known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mcdm_core.conditions import MapEncoder, SketchEncoder, TextEncoder, edges
from mcdm_core.networks import TextTower
from studies.data.face_parser import parse_face
from studies.data.faces import MOUTHS
from studies.evaluation import faces as faces_module
from studies.evaluation import held_out
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.faces import CAPTION_ATTRIBUTES, Faces, measure_cleanness
from studies.evaluation.kinds import open_held_out

from ...support.evaluations import biased_reader

COUNT = 6
DATA = DataConfig("faces", seed=24_000_000, count=COUNT)
OWN = range(COUNT)
NEXT = [1, 2, 3, 4, 5, 0]


@pytest.fixture(scope="module")
def faces():
    return open_held_out(DATA)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    read_mouths = biased_reader(tmp_path / "mouths.safetensors", MOUTHS, "smiling")
    monkeypatch.setattr(faces_module, "read_mouths", read_mouths)


def asks(*names, shift=0, weight=1.0):
    return Setting("", tuple(TermConfig(name, (name,), weight=weight, shift=shift) for name in names))


def test_real_renders_are_the_ceiling(faces):
    maps = faces.measure("maps", faces.images, None)
    assert list(maps) == ["mIoU", "hair IoU", "skin IoU", "mF1", "hair F1", "skin F1"]
    assert maps["mIoU"].min() > 0.8
    assert (maps["mF1"] > maps["mIoU"]).all()
    assert maps["hair IoU"].mean() > 0.93
    assert maps["skin IoU"].mean() > 0.82
    similarity = faces.measure("similarity", faces.images, None)
    assert similarity["SSIM"] == pytest.approx(np.ones(COUNT))
    assert faces.measure("similarity", faces.images[:2], None)["SSIM"] == pytest.approx(np.ones(2))
    assert similarity["perceptual distance"] == pytest.approx(np.zeros(COUNT))
    assert faces.measure("edges", faces.images, None)["edge F1"] == pytest.approx(np.ones(COUNT))
    assert faces.measure("cleanness", faces.images, None)["high-frequency energy"].mean() == pytest.approx(1)
    attributes = faces.measure("attributes", faces.images, None)
    each = ["hair color", "skin color", "background", "mouth"]
    assert list(attributes) == ["all attributes", "attributes", *each]
    assert attributes["attributes"].mean() > 0.9
    assert attributes["mouth"].mean() > 0.8


@pytest.mark.parametrize(
    ("group", "names", "worse"),
    [("maps", ("hair", "skin"), "mIoU"), ("edges", ("sketch",), "edge F1"), ("attributes", ("text",), "attributes")],
)
def test_samples_are_measured_against_what_they_were_asked_for(group, names, worse, faces):
    real = faces.measure(group, faces.images, None)
    following = faces.measure(group, faces.images[NEXT], asks(*names, shift=1))  # picture i shows face i + 1
    for name, values in real.items():
        assert following[name] == pytest.approx(values[NEXT])
    ignored = faces.measure(group, faces.images, asks(*names, shift=1))
    assert ignored[worse].mean() < real[worse].mean() - 0.1


def test_a_map_that_was_not_asked_for_is_compared_with_the_picture_s_own(faces):
    real = faces.measure("maps", faces.images, None)
    mixed = faces.measure("maps", faces.images, asks("hair", shift=1))
    assert np.array_equal(mixed["skin IoU"], real["skin IoU"])
    assert mixed["hair IoU"].mean() < real["hair IoU"].mean() - 0.1
    assert mixed["mIoU"] == pytest.approx((mixed["hair IoU"] + mixed["skin IoU"]) / 2)


def test_what_was_not_asked_for_is_left_blank(faces):
    one = faces.images[:1]
    assert faces.measure("maps", one, asks("text")) == {}
    assert faces.measure("maps", one, asks("hair", weight=0.0)) == {}
    assert faces.measure("edges", one, asks("hair", "text")) == {}
    assert faces.measure("attributes", one, asks("hair", "sketch")) == {}
    assert faces.measure("similarity", one, asks("hair", shift=1)) == {}
    assert set(faces.measure("similarity", one, asks("hair"))) == {"SSIM", "perceptual distance"}


def test_attributes_are_right_or_wrong(faces, reader):
    measured = faces.measure("attributes", faces.images, None)
    mouths = [float(faces[i].face.attributes["mouth"] == "smiling") for i in OWN]
    assert measured["mouth"].tolist() == mouths
    shifted = faces.measure("attributes", faces.images, asks("text", shift=1))
    for name in ("hair_color", "skin_color", "background"):
        assert measured[name.replace("_", " ")].tolist() == [1.0] * COUNT
        shown, wanted = ([faces[i].face.attributes[name] for i in rows] for rows in (OWN, NEXT))
        assert shifted[name.replace("_", " ")].tolist() == [float(s == w) for s, w in zip(shown, wanted, strict=True)]
    assert shifted["mouth"].tolist() == [mouths[i] for i in NEXT]
    assert measured["attributes"] == pytest.approx((3 + np.array(mouths)) / 4)
    assert measured["all attributes"].tolist() == mouths


def test_pictures_are_compared_with_another_setting_s(faces):
    fewer = faces.likeness(faces.images, faces.images[:4])  # the other setting has four pictures only
    assert fewer["pixel difference"][:4].tolist() == [0.0] * 4
    assert fewer["same mouth"][:4].tolist() == [1.0] * 4
    assert all(np.isnan(values[4:]).all() for values in fewer.values())
    lighter = np.zeros_like(faces.images), np.full_like(faces.images, 51)
    assert faces.likeness(*lighter)["pixel difference"] == pytest.approx(np.full(COUNT, 0.2))
    read = faces_module.read_mouths(faces.images)
    assert faces.likeness(faces.images[NEXT], faces.images)["same mouth"].tolist() == [
        float(read[following] == own) for following, own in zip(NEXT, read, strict=True)
    ]


def test_the_left_half_is_a_layout_of_any_drawing(faces):
    left = faces.map_of("left", [0, 3])
    assert left.shape == (2, *faces.images.shape[1:3])
    assert (left[..., : left.shape[-1] // 2] == 1).all()
    assert (left[..., left.shape[-1] // 2 :] == 0).all()


def test_no_caption_is_no_alternative_and_excludes_nothing(faces):
    one = faces.images[:1]
    assert faces.measure("alternatives", one, asks("hair", "sketch")) == {}
    assert faces.measure("excluded", one, asks("text", "hair_color")) == {}
    assert faces.measure("excluded", one, None) == {}
    assert faces.measure("attributes", one, asks("text", weight=-1.0)) == {}  # is not asked for


def test_noise_is_measured_beside_real_renders(faces):
    images, parsed = faces.images, [parse_face(image) for image in faces.images]
    noise = np.random.default_rng(0).normal(0, 12, images.shape)
    noisy = (images + noise).clip(0, 255).astype(np.uint8)
    measured, clean = (measure_cleanness(each, parsed, images) for each in (noisy, images))
    assert measured["high-frequency energy"].mean() > 1.1
    assert measured["deviation in flat areas"].mean() > clean["deviation in flat areas"].mean() + 5


def test_a_picture_without_flat_areas_has_no_deviation(faces):
    checks = np.indices((64, 64)).sum(0) % 2
    noise = np.repeat((255 * checks.astype(np.uint8))[None, ..., None], 3, axis=-1)  # black and white: neither part
    measured = faces.measure("cleanness", noise, asks("hair"))
    assert np.isnan(measured["deviation in flat areas"]).all()
    assert measured["high-frequency energy"][0] > 10


def test_experts_are_told_of_the_pictures(faces):
    sources = [2, 0]
    captions = [faces[i].caption for i in sources]
    tower = TextTower()
    text = faces.encode("text", TextEncoder(tower, 64), sources)
    assert torch.equal(text.embedding, tower.encode(captions))
    sketch = faces.encode("sketch", SketchEncoder(64), sources)
    assert np.array_equal(sketch.maps[:, 0].numpy(), edges(faces.images[sources]))
    hair_alone = faces.encode("hair_color", TextEncoder(tower, 64), sources)
    assert torch.equal(hair_alone.embedding, tower.encode([faces[i].captions["hair_color"] for i in sources]))
    hair = faces.encode("hair", MapEncoder("hair", 64), sources)
    assert np.array_equal((hair.maps[:, 0] * 255).round().numpy(), np.stack([faces[i].maps["hair"] for i in sources]))
    with pytest.raises(ValueError, match="no class maps"):
        faces.encode("class", MapEncoder("hair", 64), sources)


def test_tiles_show_what_is_asked_for(faces):
    assert faces.tile("text", 1) == faces[1].caption
    assert faces.tile("mouth", 1) == faces[1].captions["mouth"]
    assert np.array_equal(np.asarray(faces.tile("hair", 1)), faces[1].maps["hair"])
    assert np.array_equal(np.asarray(faces.tile("sketch", 1)) > 0, edges(faces[1].image) > 0)


def test_captions_of_one_attribute_name_no_other(faces):
    for i in OWN:
        captions = faces[i].captions
        assert list(captions) == list(CAPTION_ATTRIBUTES)
        assert "hair" in captions["hair_color"]
        assert not any(word in captions["hair_color"] for word in ("background", "backdrop", "wall", "skin"))
        assert not any("hair" in captions[name] for name in CAPTION_ATTRIBUTES if name != "hair_color")


def test_faces_are_those_of_their_seeds(faces):
    later = Faces(replace(DATA, seed=DATA.seed + 1, count=1))
    assert np.array_equal(later[0].image, faces[1].image)
    assert later[0].caption == faces[1].caption


def test_a_wider_spread_moves_the_same_faces(faces):
    wide = Faces(replace(DATA, spread=1.5))
    assert wide[0].face.attributes == faces[0].face.attributes
    assert not np.array_equal(wide[0].maps["hair"], faces[0].maps["hair"])


def test_leading_colours_lead():
    led = Faces(replace(DATA, count=12, leading={"hair_color": "red"}))
    assert np.mean([led[i].face.attributes["hair_color"] == "red" for i in range(12)]) > 0.5


def test_the_distance_is_measured_to_other_faces_of_the_kind(faces, monkeypatch):
    monkeypatch.setattr(held_out, "COMPARED", 2)
    compared = faces.compared()
    assert compared.shape == (2, 64, 64, 3)
    assert np.array_equal(compared[1], Faces(replace(DATA, seed=DATA.seed + 500_001))[0].image)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"count": 0}, r"count of held-out faces in \[data\] and found none"),
        ({"image_size": 128}, "Held-out faces are drawn and read at 64 or 256 pixels, not at 128"),
        ({"leading": {"hat": "red"}}, r"no attributes \['hat'\] to lead with; they have hair_color"),
        ({"leading": {"hair_color": "grey"}}, "no 'grey' as hair_color; lead with one of blonde"),
        ({"kind": "cats"}, "kind faces, color pairs, scenes, folder and got 'cats'"),
    ],
)
def test_faces_that_cannot_be_drawn_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        open_held_out(replace(DATA, **change))

"""Captions of which one is enough, and captions that are excluded, in pictures of known attributes."""

import pytest

from studies.evaluation.alternatives import measure_alternatives
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.kinds import open_held_out

COUNT = 6
OWN = list(range(COUNT))
FIRST, SECOND = ({"hair_color": "red", "mouth": "sad"}, {"hair_color": "blue", "mouth": "smiling"})


@pytest.fixture(scope="module")
def faces():
    return open_held_out(DataConfig("faces", seed=24_000_000, count=COUNT))


def read(*pairs):
    return {name: [pair[k] for pair in pairs] for k, name in enumerate(FIRST)}


def measured(shown, *captions):
    values = measure_alternatives(shown, [[caption] * len(shown["mouth"]) for caption in captions])
    return {name: each.tolist() for name, each in values.items()}


def test_a_picture_is_one_face_or_mixed_or_wrong():
    shown = read(("red", "sad"), ("blue", "smiling"), ("red", "smiling"), ("red", "angry"), ("green", "angry"))
    assert measured(shown, FIRST, SECOND) == {
        "one face": [1, 1, 0, 0, 0],
        "of either": [1, 1, 0.5, 0.5, 0],
        "mixed": [0, 0, 1, 0, 0],
        "the first": [1, 0, 0.5, 1, 0.5],
    }


def test_what_captions_share_mixes_nothing():
    assert measured(read(("red", "smiling"), ("red", "sad")), FIRST, SECOND | {"hair_color": "red"}) == {
        "one face": [1, 1],
        "of either": [1, 1],
        "mixed": [0, 0],
        "the first": [0, 1],
    }
    assert measured(read(("red", "sad")), FIRST, FIRST)["the first"] == [0.5]


def test_three_captions_share_what_none_has_alone():
    found = measured(read(("red", "angry"), ("blue", "sad")), FIRST, SECOND, {"hair_color": "pink", "mouth": "angry"})
    assert found["mixed"] == [1, 1]
    assert found["the first"] == [0.5, 0.5]


def captions(*terms):
    return Setting("", tuple(TermConfig("text", (name,), shift, weight=weight) for name, shift, weight in terms))


def test_pictures_are_of_either_of_the_captions_that_were_asked(faces):
    both = captions(("text", 0, 4.0), ("text", 1, 4.0))
    own = faces.measure("alternatives", faces.images, both)
    following = faces.measure("alternatives", faces.images[[*OWN[1:], 0]], both)  # picture i shows face i + 1
    real = faces.measure("alternatives", faces.images, None)
    assert list(real) == ["one face", "of either"]
    assert own["of either"] == pytest.approx(real["of either"])
    assert own["mixed"].max() == following["mixed"].max() == 0
    assert own["the first"].mean() > 0.9
    assert following["the first"].mean() < 0.1
    other = faces.measure("alternatives", faces.images, captions(("text", 2, 4.0), ("text", 3, 4.0)))
    assert other["of either"].mean() < real["of either"].mean() - 0.3
    excluding = captions(("text", 0, 4.0), ("text", 1, -1.0))
    assert list(faces.measure("alternatives", faces.images, excluding)) == list(real)


@pytest.mark.parametrize("weight", [-1.0, 0.0])
def test_a_colour_is_looked_for_where_its_caption_is_excluded_or_counts_nothing(weight, faces):
    for shift in (0, 1):
        setting = captions(("text", 0, 1.0), ("hair_color", shift, weight))
        found = faces.measure("excluded", faces.images, setting)
        hair = [faces[i].face.attributes["hair_color"] for i in OWN]
        unwanted = [hair[(i + shift) % COUNT] for i in OWN]
        same = [float(shown == color) for shown, color in zip(hair, unwanted, strict=True)]
        assert {name: values.tolist() for name, values in found.items()} == {"excluded hair color": same}


def test_an_attribute_is_excluded_as_one_picture_has_it(faces):
    setting = captions(("text", 0, 1.0), ("hair_color", 0, -1.0), ("hair_color", 1, -1.0))
    with pytest.raises(ValueError, match="excludes an attribute as two pictures have it; exclude one"):
        faces.measure("excluded", faces.images, setting)

"""Captions that name some attributes of drawn faces, as conditions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mcdm_core.networks import TextTower
from mcdm_core.training.config import DataConfig
from studies.data.captions import caption
from studies.data.faces import HAIR_COLORS, draw_face
from studies.training.faces import FaceKind, caption_conditions, face_drawings

DATA = DataConfig(
    "faces",
    ("text",),
    seed=72_000_000,
    count=40,
    leading={"background": "green"},
    share=1.0,
    named=("hair_color",),
)


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return TextTower().eval()


def test_all_faces_have_a_leading_value_of_share_1():
    conditions = caption_conditions(DATA, None)
    assert {attributes["background"] for attributes in conditions.attributes} == {"green"}
    assert {attributes["hair_color"] for attributes in conditions.attributes} == set(HAIR_COLORS)


def test_captions_are_of_the_faces_that_are_drawn(tower):
    """The pictures' own attributes, and of these only what is named."""
    seed, frequencies, _ = face_drawings(DATA).jobs[7]
    attributes = draw_face(np.random.default_rng(seed), frequencies).attributes
    conditions = caption_conditions(DATA, tower)
    assert conditions.attributes[7] == attributes
    told = conditions("text", np.array([7, 7]), np.random.default_rng(3)).embedding
    rng = np.random.default_rng(3)
    texts = [caption({"hair_color": attributes["hair_color"]}, rng, ("hair_color",)) for _ in range(2)]
    torch.testing.assert_close(told, tower.encode(texts))
    assert not told.requires_grad


def test_the_card_says_what_captions_name():
    said = FaceKind().describe(DATA, 40)
    assert said == ("40 faces, seed 72000000, leading {'background': 'green'} (1 of them), captions of hair_color")
    assert FaceKind().describe(replace(DATA, share=0.7, named=()), 40) == (
        "40 faces, seed 72000000, leading {'background': 'green'}"
    )

"""README's picture of four faces shows what its captions say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mcdm_core.cli.demo import CAPTIONS, COLUMNS
from mcdm_core.pictures.grid import MARGIN
from studies.data.face_parser import parse_face
from studies.evaluation.face_reader import read_faces

ROOT = Path(__file__).resolve().parents[4]
TILE = 256
# In the captions' order, what each names.
ASKED = [
    {"hair_color": "red", "background": "white", "mouth": "laughing"},
    {"hair_color": "purple", "background": "green", "skin_color": "tan", "mouth": "angry"},
    {"hair_color": "blonde", "background": "blue", "skin_color": "dark", "mouth": "surprised"},
    {"hair_color": "red", "background": "purple", "skin_color": "pale", "mouth": "smiling"},
]


@pytest.fixture(scope="module")
def united():
    """The last column, as `labelled_grid` lays it out: rows at the bottom, a margin between."""
    picture = np.asarray(Image.open(ROOT / "docs" / "demo.png").convert("RGB"))
    left, step = MARGIN + (len(COLUMNS) - 1) * (TILE + MARGIN), TILE + MARGIN
    tops = [picture.shape[0] - (len(CAPTIONS) - row) * step for row in range(len(CAPTIONS))]
    return np.stack([picture[top : top + TILE, left : left + TILE] for top in tops])


def test_each_caption_names_what_is_looked_for():
    for caption, asked in zip(CAPTIONS, ASKED, strict=True):
        assert all(value in caption for value in asked.values())


def test_colours_and_mouths_are_as_asked_in_every_row(united):
    mouths = read_faces(united)["mouth"]
    for face, mouth, asked in zip(united, mouths, ASKED, strict=True):
        shown = {**parse_face(face).colors, "mouth": mouth}
        assert asked.items() <= shown.items()


def test_every_face_has_both_eyes(united):
    assert "missing" not in read_faces(united)["eyes"]

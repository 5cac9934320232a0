"""The shipped font: which letters it has, and that they are drawn in every size."""

import numpy as np
import pytest
from PIL import Image

from mcdm_core.pictures import labelled_grid
from mcdm_core.pictures.grid import FONT, letters

FRAME = "\uffff"  # a code point that no font has


def drawn(letter: str, size: int = 32) -> bytes:
    return bytes(letters(size).getmask(letter))


@pytest.mark.parametrize(
    "text",
    [
        "a = 0.25, w × 0.5",
        "σ = 3.2 – ‖w (D − U)‖/√n",
        "η ε ∅ Σ ᾱ …",
        "Größe čeština łódź",
        "Ελληνικά",
        "Русский Україна",
    ],
)
def test_it_has_the_letters_of_names_and_formulas(text):
    assert all(drawn(letter) != drawn(FRAME) for letter in text if letter not in " \u0304")
    assert len({drawn(letter) for letter in set(text) - {" "}}) > 4


def test_a_frame_stands_for_letters_that_it_has_not():
    assert drawn("顔") == drawn(FRAME)
    assert any(drawn("顔"))


def test_labels_are_drawn_at_the_size_of_the_tiles_rather_than_enlarged():
    tile = Image.new("RGB", (8, 8), "white")
    small, large = (labelled_grid(["σ × 2"], [[tile]], size) for size in (90, 360))
    enlarged = np.asarray(small.crop((0, 0, 90, 30)).resize((360, 120), Image.Resampling.NEAREST), dtype=int)
    drawn_large = np.asarray(large.crop((0, 0, 360, 120)), dtype=int)
    gray = [((picture > 60) & (picture < 220)).mean() for picture in (enlarged, drawn_large)]
    assert gray[1] < gray[0] / 2  # edges are a pixel wide at either size


def test_its_licence_lies_beside_it():
    assert "Bitstream Vera" in FONT.with_name("LICENSE.txt").read_text(encoding="utf-8")
    assert FONT.stat().st_size < 200_000

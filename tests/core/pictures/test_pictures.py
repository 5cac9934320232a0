"""Picture files, grids of pictures, and the letters of the shipped font."""

import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core.pictures import labelled_grid, load_picture, map_to_picture, to_picture
from mcdm_core.pictures.grid import FONT, letters


def test_a_picture_comes_back_as_it_was(tmp_path):
    values = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    to_picture(values / 127.5 - 1).save(tmp_path / "picture.png")
    loaded = load_picture(tmp_path / "picture.png")
    assert torch.equal((loaded[0] * 255).round().to(torch.uint8), values.permute(1, 2, 0))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_picture_is_turned_as_its_camera_was(suffix, tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # after a quarter turn to the right, above
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / f"turned.{suffix}", exif=exif)
    loaded = load_picture(tmp_path / f"turned.{suffix}")
    assert loaded.shape == (1, 32, 16, 3)
    assert loaded[:, :12].min() > 0.9
    assert loaded[:, 20:].max() < 0.1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize(("background", "behind"), [("white", 255), ("black", 0)])
def test_what_is_transparent_shows_the_background(mode, background, behind, tmp_path):
    """Whatever colour is told where nothing is seen of it."""
    picture = Image.new("RGBA", (3, 1), (90, 90, 90, 0))
    picture.putpixel((0, 0), (90, 90, 90, 255))
    picture.convert(mode).save(tmp_path / "drawn.png")
    loaded = load_picture(tmp_path / "drawn.png", background)
    assert (loaded[0, 0] * 255).round().tolist() == [[90] * 3, [behind] * 3, [behind] * 3]


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32)])
def test_gray_of_16_bits_keeps_its_levels(suffix, dtype, tmp_path):
    levels = np.array([[0, 300, 32_768, 65_535]])
    Image.fromarray(levels.astype(dtype)).save(tmp_path / f"map.{suffix}")
    loaded = load_picture(tmp_path / f"map.{suffix}")
    torch.testing.assert_close(loaded[0, 0], torch.from_numpy(levels[0] / 65_535).float()[:, None].expand(4, 3))


def test_gray_in_numbers_is_read_from_0_to_1(tmp_path):
    values = np.array([[0.0, 0.25, 1.0]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "map.tif")
    assert load_picture(tmp_path / "map.tif")[0, 0, :, 0].tolist() == values[0].tolist()
    Image.fromarray(255 * values).save(tmp_path / "bytes.tif")
    with pytest.raises(ValueError, match=r"bytes\.tif should be a picture.*its numbers should be 0 to 1"):
        load_picture(tmp_path / "bytes.tif")


def png(width=16, height=16, data=None):
    """The parts of a PNG file, and of them the file."""
    data = zlib.compress(bytes(height * (width + 1))) if data is None else data
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    chunks = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "as one; correct"),
        (png(data=bytes(9))[:-16], "as one ("),
        (png(data=b"\x78\x9c\xff\xff"), "as one ("),
        (png(data=b"").replace(b"IEND", b"\xfb\xc0\x0bX"), "as one ("),
        (png(60_000, 60_000, b""), "exceeds limit"),
        (b"P6\nO0 4\n255\n", "as one ("),
    ],
    ids=["empty", "cut off", "spoiled", "a chunk", "a bomb", "a letter for a number"],
)
def test_what_is_no_picture_is_refused_in_a_sentence_that_names_it(content, reason, tmp_path):
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.png should be a picture") as error:
        load_picture(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_values_outside_the_range_are_clipped():
    extremes = torch.tensor([-3.0, 3.0]).expand(3, 1, 2)
    assert np.asarray(to_picture(extremes))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("shape", [(4, 8, 8), (1, 3, 8, 8), (8, 8)])
def test_latents_and_batches_are_no_pictures(shape):
    with pytest.raises(ValueError, match=re.escape(f"shape (3, height, width) and got {shape}; decode latents")):
        to_picture(torch.zeros(shape))


def test_maps_become_gray():
    gray = np.asarray(map_to_picture(torch.tensor([[[0.0, 1.0]]])))
    assert gray.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_long_texts_are_broken_between_words():
    caption = "a smiling man with red hair and a full beard"
    grid = np.asarray(labelled_grid(["caption", "next"], [[caption, Image.new("RGB", (8, 8), "white")]], tile=128))
    tile = grid[128 // 3 :, 8 : 8 + 128]
    beside = grid[128 // 3 :, 8 + 128 :]
    inked_rows = (tile.min(axis=(1, 2)) < 128).sum()
    assert inked_rows > 2 * 128 // 9
    assert (beside == 255).all()


@pytest.mark.parametrize(("side", "tile"), [(64, 128), (200, 200)])
def test_tiles_are_as_large_as_the_largest_picture(side, tile):
    picture = Image.effect_noise((side, side), 100).convert("RGB")
    grid = labelled_grid(["a", "b"], [[picture, "caption"]])
    assert grid.width == 8 + 2 * (tile + 8)
    expected = picture.resize((tile, tile), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(grid)[tile // 3 :][:tile, 8 : 8 + tile], np.asarray(expected))


def test_a_picture_larger_than_its_tile_is_averaged():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    tile = np.asarray(labelled_grid(["a"], [[Image.fromarray(stripes)]], 128))[128 // 3 : -8, 16:128]
    assert 120 < tile.min() <= tile.max() < 136


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="each of the 2 columns, but one has 1"):
        labelled_grid(["a", "b"], [["only one"]])


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

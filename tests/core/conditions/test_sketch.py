"""The edge function against OpenCV's, and drawings of all kinds."""

import cv2
import numpy as np
import pytest
import torch

from mcdm_core.conditions import SketchSource, edges
from mcdm_core.conditions.reading.sketch import canny, read_sketch, rgb_to_gray


def _noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def _smooth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 1, 6, 6)).astype(np.float32))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return fine[0, 0].clamp(0, 255).to(torch.uint8).numpy()


def _shapes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    image = np.full((height, width), 40, dtype=np.uint8)
    for _ in range(6):
        centre_row, centre_column, radius = rng.uniform(0, [height, width, 30])
        image[(rows - centre_row) ** 2 + (columns - centre_column) ** 2 < radius**2] = rng.integers(0, 256)
    return image


@pytest.mark.parametrize("thresholds", [(100, 200), (200, 100), (0, 0), (33.3, 77.7), (50, 400.5), (40000, 50000)])
@pytest.mark.parametrize("draw", [_noise, _smooth, _shapes])
def test_canny_equals_opencv_bit_for_bit(draw, thresholds):
    rng = np.random.default_rng(0)
    for height, width in [(64, 64), (1, 1), (1, 40), (37, 2), (100, 131)]:
        gray = draw(rng, height, width)
        expected = cv2.Canny(gray, *thresholds, L2gradient=True) > 0
        np.testing.assert_array_equal(canny(gray, *thresholds), expected)


def test_gray_values_equal_opencv_for_every_colour():
    levels = np.arange(256, dtype=np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(4096, 4096, 3)
    np.testing.assert_array_equal(rgb_to_gray(colors), cv2.cvtColor(colors, cv2.COLOR_RGB2GRAY))


def test_batches_of_any_shape_equal_single_pictures():
    rng = np.random.default_rng(1)
    grays = np.stack([_smooth(rng, 20, 30) for _ in range(6)]).reshape(2, 3, 20, 30)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(canny(grays, 20, 60)[i, j], canny(grays[i, j], 20, 60))
    assert canny(np.zeros((0, 4, 4), dtype=np.uint8)).shape == (0, 4, 4)


def test_edges_agree_for_arrays_and_tensors():
    picture = np.random.default_rng(2).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    from_array = edges(picture)
    from_tensor = read_sketch(torch.from_numpy(picture).float() / 255, 16)
    assert from_array.dtype == np.uint8
    assert from_tensor.shape == (2, 1, 16, 16)
    assert set(np.unique(from_array)) == {0, 1}
    np.testing.assert_array_equal(from_tensor[:, 0].numpy(), from_array)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rgb_to_gray(np.zeros((4, 4, 3))), "uint8 RGB"),
        (lambda: rgb_to_gray(np.zeros((4, 4), dtype=np.uint8)), "uint8 RGB"),
        (lambda: canny(np.zeros((4, 4))), "uint8 gray"),
        (lambda: canny(np.zeros((4, 4), dtype=np.uint8), -1, 2), "0 or more"),
        (lambda: canny(np.zeros((4, 4), dtype=np.uint8), 1, float("nan")), "0 or more"),
        (lambda: read_sketch(torch.zeros(1, 4, 4), 4, "a photo"), 'cannot be made from "a photo"'),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_picture_is_resized_before_its_edges_are_found():
    picture = torch.rand(1, 4, 4, 3, generator=torch.manual_seed(0)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    large = picture.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(read_sketch(large, 64), read_sketch(picture, 64))


def test_a_mask_has_edges_too():
    mask = torch.zeros(1, 64, 64)
    mask[:, 20:40, 20:40] = 1
    assert torch.equal(read_sketch(mask, 64), read_sketch(mask[..., None].expand(-1, -1, -1, 3), 64))


def _cross(size: int, width: int) -> torch.Tensor:
    """White cross on black, shape (1, size, size)."""
    drawing = torch.zeros(1, size, size)
    middle = size // 2
    drawing[:, middle : middle + width] = 1
    drawing[:, :, middle : middle + width] = 1
    return drawing


@pytest.mark.parametrize("width", [1, 4, 8, 12])
def test_strokes_of_any_width_stay_lines(width):
    sketch = read_sketch(_cross(512, width), 64, SketchSource.LIGHT_ON_DARK)
    assert set(sketch.unique().tolist()) == {0, 1}
    assert sketch[0, 0, 32].all()
    assert sketch[0, 0, :, 32].all()
    assert sketch.mean() < 4 * 2 / 64


def test_drawings_dark_on_light_are_the_inverse():
    drawing = _cross(128, 3)
    light = read_sketch(drawing, 64, "drawing light on dark")
    dark = read_sketch(0.9 - 0.8 * drawing, 64, "drawing dark on light")  # gray paper, gray ink
    assert torch.equal(light, dark)


def test_a_sketch_drawn_from_its_own_lines_is_the_same_sketch():
    sketch = read_sketch(torch.rand(2, 8, 8, 3, generator=torch.manual_seed(0)), 64)
    assert sketch.any()
    assert torch.equal(read_sketch(sketch[:, 0], 64, SketchSource.LIGHT_ON_DARK), sketch)


def test_blank_paper_is_a_black_sketch():
    assert not read_sketch(torch.full((1, 100, 100), 0.95), 64, SketchSource.DARK_ON_LIGHT).any()

"""Maps: shapes, sizes, what is refused, and how they lie beside samples that are smaller."""

import pytest
import torch
from torch.nn.functional import pixel_shuffle

from mcdm_core.conditions import build_encoder
from mcdm_core.conditions.reading.maps import read_map


@pytest.mark.parametrize(
    "shape", [(64, 64), (2, 64, 64), (2, 64, 64, 1), (2, 64, 64, 3), (2, 64, 64, 4)], ids=lambda shape: str(len(shape))
)
def test_masks_and_images_of_the_right_size_keep_their_values(shape):
    values = torch.rand(2, 64, 64)
    values = values[0] if len(shape) == 2 else values
    image = values if len(shape) < 4 else values[..., None].expand(shape).clone()
    if shape[-1] == 4:
        image[..., 3] = 0.3  # alpha says nothing
    torch.testing.assert_close(read_map(image, "hair", 64), values.reshape(-1, 1, 64, 64))


@pytest.mark.parametrize("size", [32, 128, 100, 48])
def test_other_sizes_are_resized_without_losing_area(size):
    mask = torch.zeros(1, size, size)
    mask[:, size // 4 : size // 2] = 1
    result = read_map(mask, "hair", 64)
    assert result.shape == (1, 1, 64, 64)
    torch.testing.assert_close(result.mean(), mask.mean(), atol=0.005, rtol=0)


def test_shrinking_gives_the_share_of_each_pixel_that_is_covered():
    mask = torch.zeros(1, 512, 512)
    mask[:, :, 250] = 1
    result = read_map(mask, "hair", 64)
    torch.testing.assert_close(result[0, 0, :, 31], torch.full((64,), 1 / 8))
    assert result.sum() == 64 / 8


@pytest.mark.parametrize("shape", [(1, 64, 100), (1, 100, 64)])
def test_the_middle_square_is_used_and_said_so(shape, caplog):
    mask = torch.zeros(shape)
    height, width = shape[1:]
    mask[:, (height - 64) // 2 : (height + 64) // 2, (width - 64) // 2 : (width + 64) // 2] = 1
    assert read_map(mask, "hair", 64).min() == 1
    assert "middle 64 × 64" in caplog.text


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.float64])
def test_other_number_types_become_float32(dtype):
    result = read_map(torch.ones(1, 8, 8, dtype=dtype), "hair", 8)
    assert result.dtype == torch.float32
    assert result.min() == 1


def test_resampling_overshoot_is_clipped():
    mask = torch.tensor([[[-0.03, 1.04], [0.5, 1.0]]])
    result = read_map(mask, "hair", 2)
    torch.testing.assert_close(result, torch.tensor([[[[0.0, 1.0], [0.5, 1.0]]]]))


def test_a_black_map_is_named_in_a_warning(caplog):
    read_map(torch.zeros(1, 8, 8), "hair", 8)
    assert "hair map is black" in caplog.text


def test_few_narrow_masks_are_no_picture_without_its_batch():
    assert read_map(torch.rand(2, 8, 4), "hair", 8).shape == (2, 1, 8, 8)


def test_faint_colour_is_still_gray():
    image = torch.rand(1, 32, 32, 1).expand(-1, -1, -1, 3) * 0.9 + 0.08 * torch.rand(1, 32, 32, 3)
    assert read_map(image, "skin", 32).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(1, 16, 16, 3, generator=torch.manual_seed(0)), "colour picture"),
        (torch.full((1, 8, 8), torch.nan), "NaN"),
        (torch.full((1, 8, 8), torch.inf), "NaN or infinite"),
        (torch.full((1, 8, 8), 255.0), "from 0 to 1, but they go from 255 to 255"),
        (torch.full((1, 8, 8), -1.0), "from 0 to 1, but they go from -1"),
        (torch.rand(1, 2, 8, 8), r"its shape is \(1, 2, 8, 8\)"),
        (torch.rand(8), r"its shape is \(8,\)"),
        (torch.rand(1, 0, 8), "not empty"),
        ([[1.0]], "type list; convert it to one of shape"),
        (
            torch.rand(8, 8, 3),
            r"shape \(8, 8, 3\), as one picture without its batch has; add that by `picture\[None\]`",
        ),
    ],
    ids=["colour", "nan", "inf", "255", "negative", "channels first", "vector", "empty", "list", "no batch"],
)
def test_what_is_no_map_is_refused_in_one_sentence(image, message):
    with pytest.raises(ValueError, match=message) as error:
        read_map(image, "hair", 8)
    assert "hair map" in str(error.value)
    assert "\n" not in str(error.value)


SPECS = [
    {"kind": "map", "map": "hair"},
    {"kind": "maps", "maps": ["hair", "skin"]},
    {"kind": "sketch", "map_channels": 3},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["kind"])
def test_an_encoder_of_latents_folds_what_an_encoder_of_pictures_reads(spec):
    large, folded = build_encoder(spec, 32, 3), build_encoder(spec, 32, 4, downscale=8)
    image = torch.zeros(1, 32, 32)
    image[:, 8:24, 4:20] = 1.0
    name = "encode_sketch" if spec["kind"] == "sketch" else "encode_map"
    arguments = (image, "hair") if spec["kind"] == "maps" else (image,)
    expected = getattr(large, name)(*arguments).maps
    assert expected.any()
    told = getattr(folded, name)(*arguments).maps
    torch.testing.assert_close(pixel_shuffle(told, 8), expected, rtol=0, atol=0)
    assert folded.null(2).maps.shape == (2, *told.shape[1:])
    assert folded.sample_size == 4


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["kind"])
def test_folded_conditions_fit_no_expert_of_pictures(spec):
    large, folded = build_encoder(spec, 32, 3), build_encoder(spec, 32, 4, downscale=8)
    assert large.key != folded.key
    assert "pixels folded 8 instead of 1" in large.key.describe(folded.key)


def test_merged_maps_are_those_of_both_after_folding():
    large, folded = (build_encoder(SPECS[1], 32, 3, downscale=side) for side in (1, 8))
    hair, skin = torch.zeros(1, 32, 32), torch.zeros(1, 32, 32)
    hair[:, :8], skin[:, 16:] = 1.0, 1.0
    merged = [e.merge(e.encode_map(hair, "hair"), e.encode_map(skin, "face")).maps for e in (large, folded)]
    torch.testing.assert_close(pixel_shuffle(merged[1], 8), merged[0], rtol=0, atol=0)

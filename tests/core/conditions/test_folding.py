"""Maps at the size of pictures beside samples that are smaller."""

import pytest
import torch
from torch.nn.functional import pixel_shuffle

from mcdm_core.conditions import build_encoder

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

"""What a published expert predicts in a product is what the core predicts with its file."""

import pytest
import torch

from ..support.closeness import assert_close
from .given import TEXTS, condition_of, half, picture

DRAWING = {"mode": "drawing light on dark", "low_threshold": 100.0, "high_threshold": 200.0}


@pytest.mark.parametrize(
    ("name", "node_id", "inputs"),
    [
        ("64x64_diffusion.pt", "MCDM_EncodeClass", {"class_name": "281", "null_kind": "class 0"}),
        ("base.pt", "MCDM_EncodeText", {"text": TEXTS[0]}),
        ("upsample.pt", "MCDM_EncodeLowRes", {"image": picture(size=16)}),
        ("model_latest.pt", "MCDM_EncodeText", {"text": "a man with a beard"}),
        ("model_latest.pt", "MCDM_EncodeMap", {"map": "face", "mask": half("face"), "with_text": False}),
        ("model_sketch.pt", "MCDM_EncodeSketch", {"image": picture(), **DRAWING}),
    ],
)
def test_a_product_predicts_what_the_core_does(told, chain, predict, core, base, name, node_id, inputs):
    expert = told(name, node_id, **inputs)
    condition, null = map(condition_of, (expert.condition, expert.null))
    term = core.Term(core.load_expert(base / "models" / "mcdm" / name), condition, null, weight=1.5)
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))  # as `predict` draws it
    with torch.no_grad():
        expected = core.ProductDenoiser([term])(0.5 * noise, 0.5)
    assert (expected.abs() < 1).float().mean() > 0.5  # clamped pixels compare nothing
    assert_close(predict(chain(expert), 0.5), expected)

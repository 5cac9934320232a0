"""The CLIP text tower against the published code, and what does not depend on weights."""

import pytest
import torch

from mcdm_core.checkpoints import load_text_tower
from mcdm_core.networks import ClipTextTower

from ...support.published.reference_weights import reference_config, reference_values, reference_weights

CAPTIONS = ["This person wears eyeglasses", "She has blonde hair", ""]


@pytest.fixture
def tower(tmp_path) -> ClipTextTower:
    torch.save({"state_dict": reference_weights("farl_clip")}, tmp_path / "tower.pt")
    return load_text_tower(tmp_path / "tower.pt", reference_config("farl_clip")["transformer_heads"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_tower_agrees_with_the_published_code(tower, dtype):
    values = reference_values("farl_clip")
    result = tower.to(dtype)(values["inputs/tokens"])
    expected = values["outputs/text_embed"]
    # Weights in half precision are rounded once; all that is computed with them is float32.
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}[dtype]
    assert result.dtype == torch.float32
    assert (result - expected).abs().max() < tolerance * expected.abs().max()


def test_clip_reads_captions_as_published(tower):
    unit = reference_values("farl_clip")["outputs/text_embed_unit"]
    torch.testing.assert_close(tower.encode(CAPTIONS), unit, atol=1e-5, rtol=0)


def test_text_after_the_end_token_changes_nothing(tower):
    tokens, _ = tower.tokenizer(["blonde hair"])
    assert tokens[0, 3] == tower.tokenizer.end
    changed = tokens.clone()
    changed[0, 5:] = 7
    torch.testing.assert_close(tower(tokens), tower(changed), atol=1e-6, rtol=0)

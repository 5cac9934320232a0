"""The face network: its maps and its text, apart and in one row."""

import shutil

import pytest
import torch

import nodes

from ..support.published_files import FARL
from .given import condition_of, draw, half, picture


def test_one_row_says_maps_and_text(face, node):
    text, hair = face("text"), face("hair")
    (condition, null) = node(
        "MCDM_EncodeMap",
        encoder=hair.encoder,
        mask=half("face"),
        map="face",
        with_text=False,
        condition=node(
            "MCDM_EncodeMap",
            encoder=hair.encoder,
            mask=half("hair"),
            map="hair",
            with_text=False,
            condition=text.condition,
        )[0],
    )
    told = condition_of(condition)
    assert told.text_active
    assert condition_of(null).text_active
    assert torch.equal(told.embedding, condition_of(text.condition).embedding)
    drawn = torch.cat([half("face").expand(3, -1, -1), half("hair").expand(3, -1, -1)])[None]
    assert torch.equal(told.maps, drawn * 2 - 1)
    assert not condition_of(null).maps.any()
    assert not condition_of(null).embedding.any()


def test_merging_keeps_time_ranges_and_entries(face, node):
    hair = face("hair")
    (early,) = nodes.ConditioningSetTimestepRange().set_range(hair.condition, 0.0, 0.5)
    (late,) = nodes.ConditioningSetTimestepRange().set_range(face("text").condition, 0.5, 1.0)
    inputs = {"encoder": hair.encoder, "mask": half("face"), "map": "face", "with_text": True}
    merged, null = node("MCDM_EncodeMap", **inputs, condition=[*early, *late])
    assert condition_of(null).text_active
    assert [entry[1]["start_percent"] for entry in merged] == [0.0, 0.5]
    assert all(condition_of([entry]).maps[:, :3].any() for entry in merged)
    assert [bool(condition_of([entry]).maps[:, 3:].any()) for entry in merged] == [True, False]
    assert "start_percent" not in null[0][1]


def test_the_order_of_the_maps_can_be_swapped(face):
    usual, swapped = face("hair"), face("hair", map_order="hair, face")
    assert torch.equal(condition_of(swapped.condition).maps, condition_of(usual.condition).maps.roll(3, dims=1))


@pytest.mark.parametrize(("with_text", "calls"), [(True, [4]), (False, [2, 2])])
def test_rows_with_and_without_text_never_share_a_batch(face, chain, sample, passes, with_text, calls):
    """Three conditions and the null where text is on in all; else maps and their null apart from text and its null."""
    experts = [face("text"), face("face", with_text), *([face("hair", with_text)] if with_text else [])]
    passes.watch(experts[0])
    draw(sample, chain(*experts), steps=1)
    assert [call.rows for call in passes.found] == calls


def test_faces_and_a_sketch_are_united(face, told, chain, sample):
    inputs = {"mode": "drawing light on dark", "low_threshold": 100.0, "high_threshold": 200.0}
    sketch = told("model_sketch.pt", "MCDM_EncodeSketch", image=picture(), **inputs)
    experts = [face("face"), face("hair"), (face("text"), {"weight": 1.25})]
    released = chain(*experts, (sketch, {"weight": 0.6, "reliability": 0.0}))
    assert not torch.equal(draw(sample, released), draw(sample, chain(*experts)))


def test_farl_is_asked_for_where_it_is_missing_and_found_when_it_comes(told, validate, node, base, tmp_path):
    path, loader = base / "models" / "mcdm" / FARL, node.classes["MCDM_LoadExpert"]
    before = loader.fingerprint_inputs("model_latest.pt")
    shutil.move(path, tmp_path / FARL)
    try:
        assert "reads texts with FaRL" in validate("model_latest.pt", "MCDM_EncodeText", text="a man")
        assert loader.fingerprint_inputs("model_latest.pt") != before
        with pytest.raises(ValueError, match=r"model_latest\.pt reads texts with FaRL"):
            told("model_latest.pt", "MCDM_EncodeText", text="a man")
    finally:
        shutil.move(tmp_path / FARL, path)
    assert validate("model_latest.pt", "MCDM_EncodeText", text="a man") is True
    assert loader.fingerprint_inputs("model_latest.pt") == before

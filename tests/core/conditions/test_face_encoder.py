"""The encoder of the paper's face network: maps in either order, a text, and both in one row."""

from dataclasses import replace

import pytest
import torch

from mcdm_core import Condition
from mcdm_core.conditions import build_encoder

from ...support.published.small_encoders import FARL, SIZE, box, face, farl


def told(drawing):
    """As the release reads a drawing: −1 where it is black."""
    return drawing[:, None] * 2 - 1


def test_swapped_is_the_other_order_of_the_same_maps():
    encoder = face(farl)
    other = encoder.swapped()
    for kind in ("face", "hair"):
        first, second = encoder.encode_map(box(8), kind).maps.chunk(2, dim=1)
        assert torch.equal(other.encode_map(box(8), kind).maps, torch.cat([second, first], dim=1))
        assert other.swapped().encode_map(box(8), kind).same_as(encoder.encode_map(box(8), kind))
    assert encoder.names == ("skin", "hair")
    assert other.driven_by == encoder.driven_by
    assert other.encode_text("a beard").same_as(encoder.encode_text("a beard"))


def test_with_text_turns_text_on_and_changes_nothing_else():
    encoder = face()
    condition = encoder.encode_map(box(8), "face")
    active = encoder.with_text(condition)
    assert active.text_active
    assert replace(active, text_active=False).same_as(condition)


def test_maps_of_both_kinds_and_a_text():
    encoder = face(farl)
    head, hair = encoder.encode_map(box(8), "face"), encoder.encode_map(box(12, rows=2), "hair")
    maps = encoder.merge(head, hair)
    assert torch.equal(maps.maps[:, :3], head.maps[:, :3].expand(2, -1, -1, -1))
    assert torch.equal(maps.maps[:, 3:], hair.maps[:, 3:])
    assert not maps.text_active
    text = encoder.encode_text("a beard")
    for condition in (encoder.merge(maps, text), encoder.merge(text, maps)):
        assert torch.equal(condition.maps, maps.maps)
        assert torch.equal(condition.embedding, text.embedding.expand(2, -1))
        assert condition.text_active


def test_two_maps_of_one_kind_show_what_either_shows():
    encoder = face()
    merged = encoder.merge(encoder.encode_map(box(8), "hair"), encoder.encode_map(box(12), "hair"))
    assert torch.equal(merged.maps[:, 3:4], told(torch.maximum(box(8), box(12))))


def test_a_black_map_says_that_there_is_none_which_no_map_does_not():
    encoder = face()
    black = encoder.encode_map(torch.zeros(1, SIZE, SIZE), "hair")
    assert (black.maps[:, 3:] == -1).all()
    assert not black.same_as(encoder.null())
    assert encoder.merge(black, encoder.encode_map(box(8), "face")).maps[:, 3:].eq(-1).all()


@pytest.mark.parametrize("active", [(False, False), (True, False), (False, True), (True, True)])
def test_text_is_active_where_either_says_so(active):
    encoder = face()
    conditions = [replace(encoder.encode_map(box(8), "hair"), text_active=flag) for flag in active]
    assert encoder.merge(*conditions).text_active is any(active)


def test_two_texts_are_refused():
    encoder = face(farl)
    with pytest.raises(ValueError, match="got two texts; disconnect one"):
        encoder.merge(encoder.encode_text("a beard"), encoder.encode_text("blonde hair"))


@pytest.mark.parametrize(
    "foreign",
    [
        Condition(),
        Condition(maps=torch.zeros(1, 6, SIZE, SIZE)),
        Condition(maps=torch.zeros(1, 1, SIZE, SIZE), embedding=torch.zeros(1, FARL.dim)),
        Condition(maps=torch.zeros(1, 6, SIZE, SIZE), embedding=torch.zeros(1, 1)),
    ],
    ids=["nothing", "maps", "one map", "another embedding"],
)
def test_conditions_of_other_experts_are_refused(foreign):
    encoder = face()
    for pair in ((foreign, encoder.null()), (encoder.null(), foreign)):
        with pytest.raises(ValueError, match="driven by face and hair maps and text and got one of another expert"):
            encoder.merge(*pair)


def test_a_single_map_is_not_spread_over_several():
    encoder = build_encoder({"kind": "maps", "maps": ["hair", "face"]}, SIZE, 3)
    single = build_encoder({"kind": "map", "map": "hair"}, SIZE, 3).encode_map(box(8))
    with pytest.raises(ValueError, match="got one of another expert"):
        encoder.merge(encoder.null(), single)

"""Kinds of condition: known by the name in a file's header, and open to new ones."""

import pytest

from mcdm_core.conditions import Encoder, build_encoder, encoder_of_kind, registry

KINDS = ("none", "map", "maps", "sketch", "text", "class", "tokens", "face")


@pytest.fixture
def kinds(monkeypatch):
    """The registered kinds, put back afterwards."""
    known = dict(registry._KINDS)
    monkeypatch.setattr(registry, "_KINDS", known)
    return known


def test_every_kind_that_files_name_is_registered(kinds):
    assert set(kinds) == set(KINDS)
    assert all(encoder_of_kind({"kind": kind}).kind == kind for kind in KINDS)


def test_a_new_kind_is_one_class(kinds):
    @registry.register
    class Smell(Encoder):
        kind = "smell"
        driven_by = "a smell"

        @classmethod
        def build(cls, given):
            cls.of = given.spec["of"]
            return cls(given.image_size)

    assert build_encoder({"kind": "smell", "of": "roses"}, 8, 3).of == "roses"
    with pytest.raises(ValueError, match=r"incomplete or has an unknown entry .'of'"):
        build_encoder({"kind": "smell"}, 8, 3)
    with pytest.raises(ValueError, match=r'driven by "taste", but this version knows only none, .* and smell; update'):
        build_encoder({"kind": "taste"}, 8, 3)

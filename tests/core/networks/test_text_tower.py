"""The text tower: shapes, silence, padding that changes nothing, warnings."""

import logging

import pytest
import torch

from mcdm_core.networks import TextTower, TextTowerConfig
from mcdm_core.text.vocabulary import TOKENS


@pytest.fixture
def tower() -> TextTower:
    torch.manual_seed(0)
    return TextTower().eval()


def test_each_caption_has_an_embedding_of_its_own(tower):
    embedding = tower.encode(["a smiling man", "blonde hair in a bun"])
    assert embedding.shape == (2, 128)
    assert not torch.allclose(*embedding, atol=1e-2)


@pytest.mark.parametrize("text", ["", "   ", "moustache", "a man with the"])
def test_saying_nothing_is_the_null_condition(tower, text):
    embedding = tower.encode([text, "sad"])
    assert torch.equal(embedding[0], torch.zeros(128))
    assert embedding[1].norm() > 0.1


def test_padding_changes_nothing(tower):
    alone = tower.encode(["blue hair"])
    padded = tower.encode(["blue hair", "a sad pale man with long wavy red hair and a beard"])
    torch.testing.assert_close(padded[:1], alone)


def test_what_a_colour_belongs_to_matters(tower):
    one, other = tower.encode(["blue hair, green background", "green hair, blue background"])
    assert (one - other).abs().max() > 1e-3


def test_gradients_stay_finite_with_an_empty_caption(tower):
    tower.encode(["", "sad"]).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in tower.parameters())


def test_unknown_words_are_named_in_one_warning(tower, caplog):
    with caplog.at_level(logging.WARNING):
        tower.encode(["a sad moustache", "a monocle", "a moustache"])
    (record,) = caplog.records
    message = record.getMessage()
    assert '"moustache", "monocle"' in message
    assert "sad" in message.split("knows")[1]
    assert '","' not in message


def test_known_words_raise_no_warning(tower, caplog):
    tower.encode(["a smiling man with a red beard", ""])
    assert not caplog.records


def test_a_tower_with_fewer_words_ignores_the_others(caplog):
    tower = TextTower(TextTowerConfig(vocabulary=TOKENS[:-1]))
    assert (tower.encode(["background"]) == 0).all()
    assert '"background"' in caplog.text


def test_captions_beyond_the_limit_are_cut_with_a_warning(caplog):
    tower = TextTower(TextTowerConfig(max_tokens=3))
    tokens = tower.tokens(["sad man, red hair"])
    assert tokens.shape == (1, 3)
    assert "more than 3 known words" in caplog.text


def test_no_captions_give_no_rows(tower):
    assert tower.encode([]).shape == (0, 128)


@pytest.mark.parametrize("word", ["man", "woman", "person"])
def test_words_for_people_are_named_in_a_users_caption(tower, caplog, word):
    named = tower.encode(f"a smiling {word} with a red beard")
    assert f'are ignored: "{word}"; it knows' in caplog.text
    assert torch.equal(named, tower.encode(["a smiling face with a red beard"]))

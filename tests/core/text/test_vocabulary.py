"""Free wording becomes canonical tokens; strangers are named."""

import pytest

from mcdm_core.text.vocabulary import ADJECTIVES, LINK, SEPARATOR, TOKENS, tokenize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a smiling man with a red beard", ["smiling", SEPARATOR, "red", "beard"]),
        ("blonde hair in a bun", ["blonde", "hair", "bun"]),
        (
            "Sad pale face, spiky green hair, on a blue background",
            ["sad", "pale", SEPARATOR, "spiky", "green", "hair", SEPARATOR, "blue", "background"],
        ),
        ("a clean-shaven, dark-skinned woman", ["no", "beard", SEPARATOR, "dark", "skin"]),
        ("hair combed to the side", ["hair", "side-combed"]),
        ("side combed hair", ["side-combed", "hair"]),
        ("long dark red hair", ["long", "red", "hair"]),
        ("a pale blonde woman", ["pale", "blonde"]),
        ("a long beard and shaved sides", ["beard", SEPARATOR, "undercut"]),
        (
            "The man's hair is blue; the background is green!",
            ["hair", LINK, "blue", SEPARATOR, "background", LINK, "green"],
        ),
        ("hair: blue", ["hair", LINK, "blue"]),
        ("light brown skin, hair tied back", ["brown", "skin", SEPARATOR, "hair"]),
        ("without facial hair", ["no", "beard"]),
        ("no facial hair", ["no", "beard"]),
        ("a bob", ["neck-length", "hair"]),
        ("hair down to her shoulders", ["hair", "shoulder-length"]),
        (", , and with the", []),
        ("", []),
    ],
)
def test_wordings(text, expected):
    assert tokenize(text) == (expected, [])


def test_every_token_means_itself():
    for token in TOKENS:
        if token != SEPARATOR:
            assert tokenize(token) == ([token], [])


def test_every_adjective_means_its_token_before_a_noun():
    for token, adjectives in ADJECTIVES.items():
        noun = "skin" if token in ("pale", "tan", "brown", "dark") else "man"
        for adjective in adjectives:
            assert tokenize(f"a {adjective} {noun}")[0][0] == token, adjective


def test_tokens_are_unique():
    assert len(set(TOKENS)) == len(TOKENS)


def test_strangers_are_named_once_and_ignored():
    assert tokenize("a moustache, a sad moustache, 3 Überhaare") == (["sad"], ["moustache", "3", "überhaare"])

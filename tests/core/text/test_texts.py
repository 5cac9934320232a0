"""The published tokenizers, id for id (see `../parity/README.md`), and free wording as canonical tokens."""

import json
import logging
from collections.abc import Iterator

import pytest
import torch

from mcdm_core.text.cleaning import clean_caption
from mcdm_core.text.tokenizers import ClipTokenizer, GlideTokenizer
from mcdm_core.text.vocabulary import ADJECTIVES, LINK, SEPARATOR, TOKENS, tokenize

from ...support.published.reference_weights import PARITY

TOKENIZERS = {"clip": ClipTokenizer(), "glide": GlideTokenizer()}
LONG = "word " * 200


def _cases() -> Iterator[tuple[str, str, list[int]]]:
    reference = json.loads((PARITY / "tokenizer.json").read_text(encoding="utf-8"))
    for name in TOKENIZERS:
        yield from ((name, case["text"], case["tokens"]) for case in reference[name]["cases"])
    for case in json.loads((PARITY / "tokenizer_more.json").read_text(encoding="utf-8"))["cases"]:
        yield from ((name, case["text"], case[name]) for name in TOKENIZERS)


@pytest.mark.parametrize(("name", "text", "tokens"), list(_cases()))
def test_ids_are_those_of_the_published_code(name, text, tokens):
    assert TOKENIZERS[name].encode(text) == tokens


def test_rows_of_glide_are_padded_and_masked_as_published():
    cases = json.loads((PARITY / "tokenizer.json").read_text(encoding="utf-8"))["glide"]["cases"]
    tokens, mask = TOKENIZERS["glide"]([case["text"] for case in cases])
    assert torch.equal(tokens, torch.tensor([case["padded"][0] for case in cases]))
    assert torch.equal(mask, torch.tensor([case["padded"][1] for case in cases]))


@pytest.mark.parametrize("text", ["", "a yellow flower field", LONG])
def test_rows_of_clip_have_start_text_end_and_zeros(text):
    tokenizer = ClipTokenizer(77)
    tokens, lengths = tokenizer([text])
    row = [tokenizer.start, *tokenizer.encode(text)[:75], tokenizer.end]
    assert lengths.tolist() == [len(row)]
    assert tokens.tolist() == [row + [0] * (77 - len(row))]


@pytest.mark.parametrize(("name", "room"), [("clip", 75), ("glide", 128)])
def test_a_long_caption_is_cut_with_a_warning(name, room, caplog):
    with caplog.at_level(logging.WARNING):
        tokens, _ = TOKENIZERS[name]([LONG, "short"])
    assert len(tokens) == 2
    assert f"has {len(TOKENIZERS[name].encode(LONG))} tokens; the encoder reads the first {room}" in caplog.text
    assert len(caplog.records) == 1


def test_no_captions_give_no_rows():
    assert [len(tokenizer([])[0]) for tokenizer in TOKENIZERS.values()] == [0, 0]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("“It’s”", '"It\'s"'),
        ("caf&eacute; &amp;amp; bar", "café & bar"),
        ("ﬁne ＷＩＤＥ　form", "fine WIDE form"),
        ("e\u0301", "\u00e9"),
        ("a\r\nb\u2028c", "a\nb\nc"),
        ("it\x92s", "it's"),
        ("\x00bell\x07 ", "bell"),
        ("\ud83d\ude00 \ud83d", "\U0001f600 \ufffd"),
        ("<b> &rsquo;", "<b> ’"),
    ],
)
def test_captions_are_cleaned_as_ftfy_does(text, cleaned):
    assert clean_caption(text) == cleaned


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

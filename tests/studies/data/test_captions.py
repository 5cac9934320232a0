"""Captions name what they should, nothing else, in words the vocabulary knows."""

from itertools import product

import numpy as np
import pytest

from mcdm_core.text.vocabulary import tokenize
from studies.data.captions import ATTRIBUTE_NAMES, caption
from studies.data.faces import ATTRIBUTES

# Tokens that say a value, where they are not the value itself.
TOKENS_OF = {
    ("rear_hair", "none"): {"short"},
    ("rear_hair", "long-straight"): {"straight"},
    ("rear_hair", "long-wavy"): {"wavy"},
    ("beard", "none"): {"no", "beard"},
    ("beard", "full"): {"beard"},
}


def _tokens_of(name: str, value: str) -> set[str]:
    return TOKENS_OF.get((name, value), {value})


def _random_face(rng: np.random.Generator) -> dict[str, str]:
    return {name: str(rng.choice(values)) for name, values in ATTRIBUTES.items()}


def test_named_attributes_are_said_in_known_words_and_no_others_are():
    rng = np.random.default_rng(0)
    everything = set().union(*(_tokens_of(name, value) for name, values in ATTRIBUTES.items() for value in values))
    for _ in range(2000):
        face = _random_face(rng)
        names = rng.permutation(ATTRIBUTE_NAMES)[: rng.integers(1, 8)].tolist()
        text = caption(face, rng, names)
        tokens, unknown = tokenize(text)
        assert not unknown, text
        expected = set().union(*(_tokens_of(name, face[name]) for name in names))
        assert expected <= set(tokens), text
        assert not (everything - expected) & set(tokens), text


def test_colours_stay_with_what_they_belong_to():
    """Between the colour and its noun stands no other colour, whichever form the caption takes."""
    rng = np.random.default_rng(2)
    for hair, background in product(("blue", "green", "purple"), ("blue", "green", "purple")):
        if hair == background:
            continue
        for _ in range(40):
            face = {"hair_color": hair, "background": background}
            tokens, _ = tokenize(caption(face, rng))
            if len({hair, background} & set(tokens)) < 2:
                continue
            place = tokens.index("background")
            near = tokens[place + 2] if tokens[place + 1 : place + 2] == ["is"] else tokens[place - 1]
            assert near == background, tokens


def test_wording_varies():
    rng = np.random.default_rng(3)
    face = _random_face(rng)
    assert len({caption(face, rng, ATTRIBUTE_NAMES) for _ in range(300)}) > 290


@pytest.mark.parametrize(
    ("attributes", "names", "message"),
    [
        ({"mouth": "sad"}, ["beard"], r"got \['beard'\]; choose from mouth"),
        ({"mouth": "sad"}, ["nose"], "nose"),
        ({"mouth": "sad"}, [], "got none"),
        ({}, None, "got none"),
    ],
)
def test_names_that_are_not_given_are_refused(attributes, names, message):
    with pytest.raises(ValueError, match=message):
        caption(attributes, np.random.default_rng(0), names)

"""Captions of drawn faces, in freely varied wording within the text experts' vocabulary."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcdm_core.text.vocabulary import ADJECTIVES

SUBJECTS = ("man", "woman", "person", "face", "boy", "girl", "guy", "lady", "character", "portrait of a person")

_MOUTH_NOUNS = {
    "surprised": ("open mouth", "surprised face", "astonished look"),
    "angry": ("angry face", "scowl", "furious expression"),
    "laughing": ("laugh", "laughing mouth", "amused expression"),
    "sad": ("frown", "sad face", "unhappy expression"),
    "smiling": ("smile", "grin", "happy expression"),
}
_STYLE_ADJECTIVES = {
    "bun": (),
    "side-combed": ADJECTIVES["side-combed"],
    "spiky": ADJECTIVES["spiky"],
    "undercut": ("undercut",),
}
_STYLE_ENDINGS = {
    "bun": ("in a bun", "tied in a bun", "worn in a topknot", "pulled into a bun"),
    "side-combed": ("combed to the side", "swept to one side", "parted on the side"),
    "spiky": ("styled into spikes", "in spikes"),
    "undercut": ("cut into an undercut", "shaved at the sides", "with an undercut"),
}
_REAR_ADJECTIVES = {
    "none": ("short", "cropped"),
    "long-straight": ("long straight", "straight long", "long, straight", "long and straight", "straight"),
    "long-wavy": ("long wavy", "wavy long", "long, curly", "long and wavy", "wavy"),
    "neck-length": ("neck-length", "chin-length"),
    "shoulder-length": ("shoulder-length", "medium-length"),
}
_REAR_ENDINGS = {"neck-length": ("down to the neck",), "shoulder-length": ("down to the shoulders",)}
_BEARD_NOUNS = {
    "none": ("no beard", "no facial hair"),
    "goatee": ("goatee", "chin beard", "small beard"),
    "full": ("beard", "full beard", "bushy beard", "thick beard"),
}
_BEARD_ADJECTIVES = {"none": ("clean-shaven", "beardless"), "full": ("bearded",)}
_BACKGROUND_NOUNS = ("background", "backdrop", "wall")

ATTRIBUTE_NAMES = ("hair_color", "skin_color", "background", "mouth", "hair_style", "rear_hair", "beard")
"""Attributes that a caption can name; their values are the keys of the tables above and of `ADJECTIVES`."""


def caption(attributes: Mapping[str, str], rng: np.random.Generator, names: Collection[str] | None = None) -> str:
    """Describe a face: random order, sentence form and synonyms.

    Args:
        attributes: Attribute → value, at least those named.
        rng: Source of all randomness.
        names: Attributes to name; these and no others are. None picks a random subset of those given.

    Returns:
        One caption. It contains no word outside the vocabulary.

    Raises:
        ValueError: If an attribute is unknown, or named but not given.
    """
    given = [name for name in ATTRIBUTE_NAMES if name in attributes]
    if names is None:
        count = int(rng.integers(1, len(given) + 1)) if given else 0
        names = rng.choice(given, size=count, replace=False).tolist() if given else []
    strangers = sorted(set(names) - set(given))
    if strangers or not names:
        raise ValueError(
            f"Expected the names of one or more given attributes, got {strangers or 'none'}; "
            f"choose from {', '.join(given)}."
        )
    words = _Words({name: attributes[name] for name in given if name in set(names)}, rng)
    return _FORMS[int(rng.integers(len(_FORMS)))](words)


@dataclass
class _Words:
    """Attributes that a caption still has to name, and the source of its randomness."""

    left: dict[str, str]
    rng: np.random.Generator

    def pick(self, options: Sequence[str]) -> str:
        """One option, uniformly."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def take(self, name: str, probability: float = 1.0) -> str | None:
        """Remove and return an attribute's value, with this probability; None if it isn't left or chance decides so."""
        if name in self.left and self.chance(probability):
            return self.left.pop(name)
        return None

    def color(self, value: str) -> str:
        """A word for a colour or skin tone."""
        return self.pick(ADJECTIVES[value])


def _sentence(words: _Words) -> str:
    """As in "A smiling pale man with a red beard and blonde hair in a bun on a blue background"."""
    adjectives = _adjectives(words)
    subject = " ".join([*adjectives, words.pick(SUBJECTS)])
    ground = _background(words) if "background" in words.left and words.chance(0.6) else None
    parts = _shuffled(words, _noun_phrases(words))
    text = f"{_article(subject)} {subject}" if words.chance(0.8) else subject
    if parts:
        text += " with " + _enumerate(words, parts)
    if ground:
        text += words.pick((", ", " ")) + words.pick(("on ", "in front of ", "against ")) + ground
    return text


def _list(words: _Words) -> str:
    """As in "Sad pale face, spiky green hair, blue background"."""
    adjectives = _adjectives(words)
    parts = _noun_phrases(words)
    if adjectives:
        tail = words.pick((" face", " person", " man", " woman", ""))
        parts.append(" ".join(adjectives) + tail)
    return ", ".join(_shuffled(words, parts))


def _clauses(words: _Words) -> str:
    """As in "The hair is blue and spiky. The background is green. She is smiling"."""
    clauses = []
    for noun, names in (("hair", ("hair_color", "hair_style", "rear_hair")), ("skin", ("skin_color",))):
        said = [text for name in _shuffled(words, list(names)) if (text := _predicate(words, name))]
        if said:
            clauses.append(f"{words.pick(('the', 'her', 'his'))} {noun} is {' and '.join(said)}")
    if tone := words.take("background"):
        clauses.append(f"the {words.pick(_BACKGROUND_NOUNS)} is {words.color(tone)}")
    if mouth := words.take("mouth"):
        clauses.append(f"{words.pick(('he', 'she', 'the person'))} {words.pick(('is', 'looks'))} {words.color(mouth)}")
    clauses.extend(f"{words.pick(('he', 'she'))} has {part}" for part in _noun_phrases(words))
    return words.pick((". ", ", ", "; ")).join(_shuffled(words, clauses))


_FORMS: tuple[Callable[[_Words], str], ...] = (_sentence, _sentence, _list, _clauses)


def _adjectives(words: _Words) -> list[str]:
    """Adjectives before the subject: some of expression, skin, hair colour, beard."""
    found = []
    if mouth := words.take("mouth", 0.7):
        found.append(words.color(mouth))
    if color := words.take("hair_color", 0.12):
        # Only colours that no background shares may stand alone.
        alone = color in ("blonde", "red", "pink")
        found.append(words.color(color) + (words.pick(("", "-haired")) if alone else "-haired"))
    if skin := words.take("skin_color", 0.4):
        # "dark red-haired" would mean dark red hair.
        found.append(words.color(skin) + ("-skinned" if color else words.pick(("", "-skinned"))))
    if words.left.get("beard") in _BEARD_ADJECTIVES and (beard := words.take("beard", 0.4)):
        found.append(words.pick(_BEARD_ADJECTIVES[beard]))
    return _shuffled(words, found)


def _noun_phrases(words: _Words) -> list[str]:
    """All attributes that are left, as phrases that can follow "with"."""
    phrases = []
    # A beard has the hair's colour, so either may carry it.
    color_on_beard = words.left.get("beard") in ("goatee", "full") and "hair_color" in words.left and words.chance(0.35)
    if color_on_beard:
        phrases.append(_beard(words, words.color(words.left["hair_color"])))
        if words.chance(0.7):
            words.take("hair_color")
    if any(name in words.left for name in ("hair_color", "hair_style", "rear_hair")):
        phrases.extend(_hair(words))
    if "beard" in words.left:
        phrases.append(_beard(words))
    if skin := words.take("skin_color"):
        phrases.append(f"{words.color(skin)} {words.pick(('skin', 'complexion'))}")
    if mouth := words.take("mouth"):
        phrases.append(_with_article(words.pick(_MOUTH_NOUNS[mouth])))
    if "background" in words.left:
        phrases.append(_background(words))
    return phrases


def _hair(words: _Words) -> list[str]:
    """One phrase for all attributes of the hair or, in a fifth of the captions, one for each."""
    if words.chance(0.2):
        names = [name for name in ("hair_color", "hair_style", "rear_hair") if name in words.left]
        return [_hair_phrase(words, [name]) for name in names]
    return [_hair_phrase(words, ["hair_color", "hair_style", "rear_hair"])]


def _hair_phrase(words: _Words, names: list[str]) -> str:
    """As in "Long wavy blue hair in a bun"."""
    before: list[str] = []
    after: list[str] = []
    color = words.take("hair_color") if "hair_color" in names else None
    style = words.take("hair_style") if "hair_style" in names else None
    rear = words.take("rear_hair") if "rear_hair" in names else None
    if style == "bun" and rear is None and words.chance(0.25):
        return _with_article(f"{words.color(color)} bun" if color else "bun")
    if style:
        _place(words, _STYLE_ADJECTIVES[style], _STYLE_ENDINGS[style], before, after)
    if rear:
        _place(words, _REAR_ADJECTIVES[rear], _REAR_ENDINGS.get(rear, ()), before, after)
    before = _shuffled(words, before)
    if color:
        # Colours mostly stand last, as in "long red hair".
        before.insert(len(before) if words.chance(0.75) else 0, words.color(color))
    return " ".join([*before, "hair", *_shuffled(words, after)])


def _place(
    words: _Words, adjectives: Sequence[str], endings: Sequence[str], before: list[str], after: list[str]
) -> None:
    """Add an adjective before the noun or an ending after it, whichever exists."""
    if adjectives and (not endings or words.chance(0.6)):
        before.append(words.pick(adjectives))
    else:
        after.append(words.pick(endings))


def _beard(words: _Words, color: str | None = None) -> str:
    beard = words.left.pop("beard")
    noun = words.pick(_BEARD_NOUNS[beard])
    if beard == "none":
        return noun
    return _with_article(f"{color} {noun}" if color else noun)


def _background(words: _Words) -> str:
    tone = words.left.pop("background")
    return _with_article(f"{words.color(tone)} {words.pick(_BACKGROUND_NOUNS)}")


def _predicate(words: _Words, name: str) -> str | None:
    """A phrase that can follow "the hair is" or "the skin is"."""
    value = words.take(name)
    if value is None:
        return None
    if name == "hair_style":
        return words.pick(_STYLE_ADJECTIVES[value] or _STYLE_ENDINGS[value])
    if name == "rear_hair":
        return words.pick(_REAR_ADJECTIVES[value])
    return words.color(value)


def _shuffled(words: _Words, items: list[str]) -> list[str]:
    return [items[index] for index in words.rng.permutation(len(items))]


def _enumerate(words: _Words, parts: list[str]) -> str:
    """As in "x, y and z", or with commas alone."""
    if len(parts) == 1 or words.chance(0.3):
        return ", ".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _article(phrase: str) -> str:
    return "an" if phrase[0] in "aeiou" else "a"


def _with_article(phrase: str) -> str:
    return f"{_article(phrase)} {phrase}"

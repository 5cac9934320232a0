"""The text experts' vocabulary, and the translation of free wording into its tokens.

The drawn faces have few attributes, so a vocabulary of words is enough: every wording is mapped to canonical tokens.
Words such as "hair" and "background" are tokens too, because they tell which part a colour belongs to.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

SEPARATOR = ","
"""Token between clauses: without it "hair is blue, background green" could be read as "blue background"."""

LINK = "is"
"""Token between a noun and its attribute: "the hair is blue"."""

COLORS = ("blonde", "red", "blue", "green", "purple", "pink", "white")
SKIN_TONES = ("pale", "tan", "brown", "dark")
EXPRESSIONS = ("surprised", "angry", "laughing", "sad", "smiling")
HAIR_SHAPES = ("bun", "side-combed", "spiky", "undercut")
HAIR_LENGTHS = ("long", "straight", "wavy", "short", "neck-length", "shoulder-length")
BEARDS = ("beard", "goatee")
NOUNS = ("hair", "skin", "background")

TOKENS: tuple[str, ...] = (
    SEPARATOR,
    LINK,
    "no",
    *COLORS,
    *SKIN_TONES,
    *EXPRESSIONS,
    *HAIR_SHAPES,
    *HAIR_LENGTHS,
    *BEARDS,
    *NOUNS,
)
"""Every canonical token. A text tower stores the list it was trained with, so new tokens may be appended."""

ADJECTIVES: Mapping[str, tuple[str, ...]] = {
    "blonde": ("blonde", "blond", "golden", "yellow"),
    "red": ("red", "ginger", "scarlet", "crimson"),
    "blue": ("blue", "azure", "navy", "cobalt"),
    "green": ("green", "emerald", "lime"),
    "purple": ("purple", "violet", "lilac", "lavender"),
    "pink": ("pink", "magenta", "rose"),
    "white": ("white",),
    "pale": ("pale", "fair", "light"),
    "tan": ("tan", "tanned", "olive", "bronze"),
    "brown": ("brown",),
    "dark": ("dark", "ebony"),
    "surprised": ("surprised", "astonished", "amazed", "shocked", "startled", "stunned"),
    "angry": ("angry", "furious", "mad", "annoyed", "grumpy", "scowling"),
    "laughing": ("laughing", "chuckling", "giggling", "amused"),
    "sad": ("sad", "unhappy", "gloomy", "sorrowful", "frowning"),
    "smiling": ("smiling", "happy", "grinning", "glad", "cheerful"),
    "side-combed": ("side-combed", "side-swept", "side-parted"),
    "spiky": ("spiky", "spiked", "pointy"),
    "wavy": ("wavy", "curly"),
}
"""Canonical token → adjectives that mean it in any context; written captions draw from these."""

_OTHER_WORDINGS: Mapping[str, str] = {
    "blonde": "blondes|yellowish",
    "blonde hair": "fair hair|fair haired|light hair|light haired",
    "red": "auburn|reddish",
    "red hair": "redhead|redheaded|red head|red headed",
    "blue": "bluish|sapphire|sky blue",
    "green": "greenish|mint",
    "purple": "purplish|mauve|plum",
    "pink": "pinkish|fuchsia",
    "pale skin": "white skin|white skinned",
    "tan skin": "golden skin|golden skinned",
    "dark skin": "black skin|black skinned",
    "surprised": "surprise|agape|gaping|astonishment|open mouth|open mouthed|mouth open|mouth wide open|mouth agape",
    "angry": "anger|cross|irate|enraged|scowl|scowls",
    "laughing": "laugh|laughs|laughter|chuckle|giggle",
    "sad": "sadness|mournful|melancholy|frown|frowns|upset",
    "smiling": "smile|smiles|smiley|grin|grins|pleased|joyful|happiness",
    "bun": "buns|topknot|top knot|updo",
    "hair bun": "hair up",
    "side-combed": "combed|parted|side part|to the side|to one side|sideways|combed to the side|combed to one side"
    "|swept to the side|swept to one side|parted to the side|parted on the side|parted on one side",
    "spiky": "spike|spikes|pointed",
    "undercut": "undercuts|shaved sides|shaven sides|short sides|shaved at the sides|shaved on the sides",
    "wavy": "waves|curls",
    "short": "cropped",
    "neck-length": "neck|chin length",
    "neck-length hair": "bob",
    "shoulder-length": "shoulder|shoulders|medium length",
    "beard": "beards|bearded|facial hair|big beard|bushy beard|long beard|thick beard",
    "goatee": "goatees|chin|chin beard|short beard|small beard|pointed beard|pointy beard"
    "|beard on the chin|beard on his chin|beard on her chin",
    "no beard": "beardless|clean shaven|shaven|no facial hair|without facial hair",
    "no": "without|not",
    "hair": "haired|hairs|hairdo|haircut|hairstyle|headed",
    "skin": "skinned|complexion|complexioned",
    "background": "backdrop|wall|backgrounds",
    LINK: "are|looks|looking|seems|appears|was",
    SEPARATOR: "and|with|but|plus",
}

_NEUTRAL_WORDS = (
    "a an the this that these there it its of in on at to by for from as into one against front before behind "
    "down who whose which he she they look him his her hers their i me my want show shows showing draw has have "
    "having had wears wearing worn be been being styled tied pulled put cut dyed reaching falling flowing very "
    "quite really rather so bright vivid full plain solid simple color colour colored coloured colors colours "
    "tone toned shade length expression expressions mood mouth face faces faced head portrait picture photo image "
    "drawing cartoon avatar illustration headshot character figure back"
)

_PEOPLE_WORDS = (
    "person people someone somebody man men woman women guy girl boy lady gentleman male female human kid child "
    "individual"
)

_PEOPLE = frozenset(_PEOPLE_WORDS.split())
_NEUTRAL = frozenset(_NEUTRAL_WORDS.split()) | _PEOPLE

_SHADES = ("light", "dark", "deep", "pale")


def _build_phrases() -> dict[tuple[str, ...], tuple[str, ...]]:
    """Wording (as words) → canonical tokens."""
    phrases: dict[tuple[str, ...], tuple[str, ...]] = {
        tuple(split_words(token)): (token,) for token in TOKENS if token != SEPARATOR
    }
    for token, adjectives in ADJECTIVES.items():
        phrases.update({tuple(split_words(adjective)): (token,) for adjective in adjectives})
    for meaning, wordings in _OTHER_WORDINGS.items():
        phrases.update({tuple(split_words(wording)): tuple(meaning.split()) for wording in wordings.split("|")})
    # In "dark red hair", "dark" is a shade of the hair; in "a pale blonde woman", "pale" is the skin.
    for color in (*COLORS[1:], "tan", "brown"):
        for word in ADJECTIVES[color]:
            phrases.update({(shade, word): (color,) for shade in _SHADES})
    phrases[(SEPARATOR,)] = (SEPARATOR,)
    phrases[(":",)] = (LINK,)
    return phrases


def split_words(text: str) -> list[str]:
    """Lower-case words, hyphenated ones split; punctuation becomes `SEPARATOR`, except the colon."""
    text = re.sub(r"['’]s\b", "", text.lower())
    found = re.findall(r"[^\W_]+(?:['’][^\W_]+)*|[,.;:!?()/|\n]", text)
    return [word if word[0].isalnum() or word == ":" else SEPARATOR for word in found]


_PHRASES = _build_phrases()
_LONGEST = max(map(len, _PHRASES))


def tokenize(text: str) -> tuple[list[str], list[str]]:
    """Split free wording into canonical tokens.

    Args:
        text: A caption in any case, order and punctuation.

    Returns:
        The canonical tokens in order (members of `TOKENS`; neutral words such as "a" or "man" are dropped), and the
        words that are in neither the vocabulary nor the neutral words, each once.
    """
    words = split_words(text)
    tokens: list[str] = []
    unknown: dict[str, None] = {}
    position = 0
    while position < len(words):
        length = _longest_phrase(words, position)
        if length:
            tokens.extend(_PHRASES[tuple(words[position : position + length])])
        elif words[position] not in _NEUTRAL:
            unknown[words[position]] = None
        position += max(length, 1)
    return _without_idle_separators(tokens), list(unknown)


def _longest_phrase(words: list[str], position: int) -> int:
    """Number of words of the longest known wording that starts at `position`, 0 if there is none."""
    for length in range(min(_LONGEST, len(words) - position), 0, -1):
        if tuple(words[position : position + length]) in _PHRASES:
            return length
    return 0


def _without_idle_separators(tokens: list[str]) -> list[str]:
    """Drop separators at either end, and repeated ones."""
    kept: list[str] = []
    for token in tokens:
        if token != SEPARATOR or (kept and kept[-1] != SEPARATOR):
            kept.append(token)
    return kept[:-1] if kept and kept[-1] == SEPARATOR else kept


def tokenize_plain(text: str) -> tuple[list[str], list[str]]:
    """Split a caption into its own words, for towers trained on a user's captions.

    Args:
        text: A caption.

    Returns:
        As `tokenize`: the words in order and, since any word may be in a vocabulary, no unknown ones.
    """
    return _without_idle_separators(split_words(text)), []


def gather_vocabulary(captions: Iterable[str], size: int) -> tuple[str, ...]:
    """The `size` most frequent words of captions, sorted by frequency and then by spelling."""
    counts = Counter(word for text in captions for word in tokenize_plain(text)[0])
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:size])


def people_in(text: str) -> list[str]:
    """The words of a caption for people, each once: neutral to `tokenize`, which draws all of them alike."""
    return [*dict.fromkeys(word for word in split_words(text) if word in _PEOPLE)]


TOKENIZERS: Mapping[str, Callable[[str], tuple[list[str], list[str]]]] = {"faces": tokenize, "plain": tokenize_plain}
"""Lexicon → its tokenizer: "faces" with the synonyms above, "plain" word by word."""

"""Cleans captions for CLIP's tokenizer, as ftfy, which the published code uses, cleans ordinary text."""

import html
import re
import unicodedata

_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_LINE_BREAK = re.compile("\r\n|[\r\u2028\u2029]")
_UNDEFINED_IN_CP1252 = {0x81, 0x8D, 0x8F, 0x90, 0x9D}


def clean_caption(text: str) -> str:
    """Straighten quotes, decode HTML entities, replace ligatures and wide forms by plain letters, compose accents.

    The result is that of ftfy 6 and then `html.unescape`, twice, with these exceptions: text decoded in a wrong
    encoding, terminal escapes and capitalized entities such as "&EACUTE;" stay as they are, and a "<" turns the repair
    of entities off for all lines, in ftfy only for its own and those below.

    Args:
        text: A caption.

    Returns:
        The cleaned caption, without white space at the ends.
    """
    # One repair may make another possible: the quote of a ligature, an entity within an entity.
    while (repaired := _repair(text)) != text:
        text = repaired
    return html.unescape(html.unescape(text)).strip()


def _repair(text: str) -> str:
    if "<" not in text:  # else it may be HTML on purpose
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = _LINE_BREAK.sub("\n", text.translate(_REPLACEMENTS))
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return unicodedata.normalize("NFC", text)


def _replacements() -> dict[int, str | None]:
    """Code point → replacement; None removes it."""
    table: dict[int, str | None] = {0x3000: " "}
    for code in set(range(0x80, 0xA0)) - _UNDEFINED_IN_CP1252:  # controls that were meant for Windows' characters
        table[code] = bytes([code]).decode("cp1252")
    for code in range(0xFF01, 0xFFF0):  # half-width and full-width forms
        table[code] = unicodedata.normalize("NFKC", chr(code))
    for ligature in "ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬅﬆ":
        _, *parts = unicodedata.decomposition(ligature).split()
        table[ord(ligature)] = "".join(chr(int(part, 16)) for part in parts)
    table |= dict.fromkeys(map(ord, "ʼ‘’‚‛"), "'") | dict.fromkeys(map(ord, "“”„‟"), '"')
    controls = [*range(9), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
    return table | dict.fromkeys(controls)


_REPLACEMENTS = _replacements()

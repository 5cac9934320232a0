"""Byte-pair encoding of bytes (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units")."""

import gzip
import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

MERGES = Path(__file__).parent / "merges"


def _byte_symbols() -> dict[int, str]:
    """Byte → its printable character in published merges, in the order of the bytes' ids."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_SYMBOLS = _byte_symbols()


class BytePairEncoder:
    """Encodes pieces of text as token ids: first as bytes, then by merging neighbouring pairs by rank.

    Ids number the 256 bytes, the same with `end_of_word` where there is one, the merges, and `special`, in this order.

    Args:
        merges: File of `MERGES`: gzip, a pair of symbols a line, the most frequent first.
        end_of_word: Suffix of a piece's last symbol.
        special: Pieces that are tokens of their own.
    """

    def __init__(self, merges: str, end_of_word: str = "", special: Sequence[str] = ()):
        lines = gzip.decompress((MERGES / merges).read_bytes()).decode("utf-8").splitlines()
        pairs = [(first, second) for first, second in map(str.split, lines)]
        symbols = list(_SYMBOLS.values())
        if end_of_word:
            symbols += [symbol + end_of_word for symbol in symbols]
        symbols += [first + second for first, second in pairs]
        self.end_of_word = end_of_word
        self.ids = {symbol: i for i, symbol in enumerate([*symbols, *special])}
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._known = {piece: [self.ids[piece]] for piece in special}

    def encode(self, piece: str) -> list[int]:
        """Token ids of one piece, which must not be empty; cached, since words repeat."""
        if piece not in self._known:
            symbols = [_SYMBOLS[byte] for byte in piece.encode("utf-8")]
            symbols[-1] += self.end_of_word
            self._known[piece] = [self.ids[symbol] for symbol in self._merge(symbols)]
        return self._known[piece]

    def _merge(self, symbols: list[str]) -> list[str]:
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=lambda pair: self._ranks.get(pair, math.inf))
            if best not in self._ranks:
                break
            merged: list[str] = []
            position = 0
            while position < len(symbols):
                length = 2 if tuple(symbols[position : position + 2]) == best else 1
                merged.append("".join(symbols[position : position + length]))
                position += length
            symbols = merged
        return symbols


def split_pieces(text: str, fixed: re.Pattern[str], kinds: re.Pattern[str]) -> list[str]:
    r"""Split text into pieces by patterns over Unicode's general categories, which `re` does not know.

    Args:
        text: What to split.
        fixed: Pattern of pieces over the text itself, tried first at every position.
        kinds: Pattern of pieces over the kinds of characters: "L" for letters, "N" for numbers, " " for a space, "\n"
            for other white space, "." for everything else.

    Returns:
        The pieces in order; characters where neither pattern matches are dropped.
    """
    shape = "".join(map(_kind, text))
    pieces = []
    position = 0
    while position < len(text):
        match = fixed.match(text, position) or kinds.match(shape, position)
        if match:
            pieces.append(text[position : match.end()])
        position = match.end() if match else position + 1
    return pieces


def _kind(character: str) -> str:
    if character == " ":
        return " "
    # Python counts the information separators among white space, Unicode does not.
    if character.isspace() and not "\x1c" <= character <= "\x1f":
        return "\n"
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "."

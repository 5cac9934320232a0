"""The tokenizers of the published experts: CLIP's (FaRL) and GLIDE's own, which is GPT-2's.

Both give the same ids as the published code, without its packages (regex, ftfy). Only one of ftfy's repairs is left
out: captions decoded in a wrong encoding ("cafÃ©") stay as they are, see `clean_caption`.
"""

import logging
import re
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from .byte_pairs import BytePairEncoder, split_pieces
from .cleaning import clean_caption

logger = logging.getLogger(__name__)


class ClipTokenizer:
    """CLIP's tokenizer (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021).

    Attributes:
        start: Id that opens every row.
        end: Id that closes the text; the highest of all.
        vocabulary: Number of ids.

    Args:
        context_length: Tokens in a row, start and end included.
    """

    start = 49_406
    end = 49_407
    vocabulary = 49_408

    def __init__(self, context_length: int = 77):
        self.context_length = context_length

    def encode(self, text: str) -> list[int]:
        """Ids of a caption, without start and end."""
        text = " ".join(clean_caption(text).split()).lower()
        pieces = split_pieces(text, _CLIP_FIXED, _CLIP_KINDS)
        return [token for piece in pieces for token in _pairs(*_CLIP_PAIRS).encode(piece)]

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Rows for a text tower; a long caption is cut, with a warning.

        Args:
            texts: B captions.

        Returns:
            Ids, int64, shape (B, context_length), 0 after the end token; and the number of ids in each row with start
            and end, int64, shape (B,).
        """
        room = self.context_length - 2
        rows = [[self.start, *tokens[:room], self.end] for tokens in _encode_all(self, texts, room)]
        tokens = torch.zeros(len(rows), self.context_length, dtype=torch.int64)
        for target, row in zip(tokens, rows, strict=True):
            target[: len(row)] = torch.tensor(row)
        return tokens, torch.tensor([len(row) for row in rows], dtype=torch.int64)


class GlideTokenizer:
    """GLIDE's tokenizer: GPT-2's byte pairs of lower-case text, without start or end.

    Attributes:
        padding: Id that fills a row after its text; GPT-2's end of text.
        vocabulary: Number of ids.

    Args:
        context_length: Tokens in a row.
    """

    padding = 50_256
    vocabulary = 50_257

    def __init__(self, context_length: int = 128):
        self.context_length = context_length

    def encode(self, text: str) -> list[int]:
        """Ids of a caption."""
        pieces = split_pieces(text.lower(), _GLIDE_FIXED, _GLIDE_KINDS)
        return [token for piece in pieces for token in _pairs("gpt2.txt.gz").encode(piece)]

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Rows for `TextTransformer`; a long caption is cut, with a warning. An empty caption is the null condition.

        Args:
            texts: B captions.

        Returns:
            Ids, int64, and whether each is text (not padding), bool; both of shape (B, context_length).
        """
        rows = _encode_all(self, texts, self.context_length)
        tokens = torch.full((len(rows), self.context_length), self.padding)
        for target, row in zip(tokens, rows, strict=True):
            target[: len(row)] = torch.tensor(row, dtype=torch.int64)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        return tokens, torch.arange(self.context_length) < lengths[:, None]


def _encode_all(tokenizer: ClipTokenizer | GlideTokenizer, texts: Sequence[str], room: int) -> list[list[int]]:
    rows = [tokenizer.encode(text) for text in texts]
    for row in rows:
        if len(row) > room:
            logger.warning("A caption has %d tokens; the encoder reads the first %d.", len(row), room)
    return [row[:room] for row in rows]


_pairs = cache(BytePairEncoder)
_CLIP_PAIRS = ("clip.txt.gz", "</w>", ("<|startoftext|>", "<|endoftext|>"))
_CONTRACTIONS = r"'(?:s|t|re|ve|m|ll|d)"
_CLIP_FIXED = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|" + _CONTRACTIONS, re.IGNORECASE)
_CLIP_KINDS = re.compile(r"L+|N|\.+")
_GLIDE_FIXED = re.compile(_CONTRACTIONS)
_GLIDE_KINDS = re.compile(r" ?L+| ?N+| ?\.+|\s+(?!\S)|\s+")

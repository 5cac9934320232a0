"""The text tower: captions to the embedding that drives a text expert.

Tower and image encoder are trained together so that a caption and its picture lie close; the expert is then trained on
image embeddings and driven by text embeddings (the paper's §7.3, Eq. 20).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..system.fields import Between, Length, Line, Word, check_fields
from ..text.vocabulary import TOKENIZERS, TOKENS, people_in
from .text_transformer import check_heads

logger = logging.getLogger(__name__)

MOST_WORDS = 20_000
"""Largest size of a vocabulary."""
_LISTED_WORDS = 60  # words that a warning lists


@dataclass(frozen=True)
class TextTowerConfig:
    """Everything that fixes the tower; stored in the checkpoint.

    Attributes:
        vocabulary: Canonical tokens in the order of the word embedding's rows (row 0 is padding).
        width: Channels of the transformer.
        heads: Attention heads; divides `width`.
        layers: Transformer layers.
        dim: Length of the embedding.
        max_tokens: Tokens read from one caption; the rest is ignored.
        lexicon: Key of `TOKENIZERS`.

    Raises:
        ValueError: If the lexicon is unknown.
    """

    vocabulary: Annotated[tuple[Line, ...], Length(1, MOST_WORDS)] = TOKENS
    width: Annotated[int, Between(1, 1024)] = 128
    heads: Annotated[int, Between(1, 1024)] = 4
    layers: Annotated[int, Between(0, 64)] = 2
    dim: Annotated[int, Between(1, 4096)] = 128
    max_tokens: Annotated[int, Between(1, 4096)] = 64
    lexicon: Word = "faces"

    def __post_init__(self) -> None:
        if self.lexicon not in TOKENIZERS:
            raise ValueError(
                f"Expected a text encoder with one of the lexicons {', '.join(TOKENIZERS)} and got {self.lexicon!r}; "
                "update the pack."
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TextTowerConfig":
        """Inverse of `to_dict`, also after a trip through JSON.

        Raises:
            ValueError: A value is missing, unknown, or not of its field's type and range.
        """
        check_fields(cls, values, "the text encoder")
        config = cls(**{**values, "vocabulary": tuple(values["vocabulary"])} if "vocabulary" in values else values)
        check_heads(config.width, config.heads, "the text encoder")
        return config

    def to_dict(self) -> dict:
        """Plain values, fit for JSON."""
        return asdict(self)


class TextLayer(nn.Module):
    """A pre-norm transformer encoder layer.

    Args:
        width: Channels.
        heads: Attention heads; divides `width`.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Transform x of shape (B, L, width), given a mask (B, L) that is True for tokens; returns (B, L, width)."""
        qkv = self.qkv(self.attention_norm(x))
        query, key, value = rearrange(qkv, "b l (qkv heads c) -> qkv b heads l c", qkv=3, heads=self.heads)
        visible = rearrange(mask, "b l -> b 1 1 l")
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = x + self.attention_out(rearrange(attended, "b heads l c -> b l (heads c)"))
        return x + self.mlp(self.mlp_norm(x))


class TextTower(nn.Module):
    """Word and position embedding, a small transformer, masked mean, projection.

    Args:
        config: Architecture and vocabulary.
    """

    def __init__(self, config: TextTowerConfig | None = None):
        super().__init__()
        self.config = config or TextTowerConfig()
        width = self.config.width
        self._rows = {token: row for row, token in enumerate(self.config.vocabulary, start=1)}
        self.words = nn.Embedding(len(self.config.vocabulary) + 1, width, padding_idx=0)
        # Large enough beside the words that attention sees word order from the first step on.
        self.positions = nn.Parameter(nn.init.normal_(torch.empty(self.config.max_tokens, width), std=0.1))
        self.layers = nn.ModuleList(TextLayer(width, self.config.heads) for _ in range(self.config.layers))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, self.config.dim, bias=False)
        nn.init.normal_(self.words.weight, std=0.2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token rows.

        Args:
            tokens: int64 (B, L), L ≤ `max_tokens`: rows of the word embedding, 0 for padding, which comes last.

        Returns:
            Estimates of the embeddings of matching pictures, (B, dim), longer for more specific captions; zeros, the
            null condition, where a row is all padding.
        """
        return self.projection(self.pool(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        """The mean over tokens that `forward` projects, shape (B, width); zeros where a row is all padding."""
        mask = tokens != 0
        # A softmax over nothing is NaN: rows without tokens attend to their padding and are zeroed at the end.
        visible = mask | ~mask.any(1, keepdim=True)
        x = self.words(tokens) + self.positions[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, visible)
        weights = mask.to(x.dtype)[..., None]
        return (self.norm(x) * weights).sum(1) / weights.sum(1).clamp(min=1)

    def tokens(self, texts: Sequence[str], ignored: Iterable[str] = ()) -> Tensor:
        """Rows of the word embedding for captions, as `forward` reads them.

        Words outside the vocabulary, which a warning names, and tokens beyond `max_tokens` are ignored.

        Args:
            texts: B captions.
            ignored: Further words that the warning names.

        Returns:
            int64 (B, L), on the tower's device; L ≥ 1 is the longest caption's length.
        """
        tokenize = TOKENIZERS[self.config.lexicon]
        rows: list[list[int]] = []
        unread = dict.fromkeys(ignored)
        for text in texts:
            known, unknown = tokenize(text)
            unread |= dict.fromkeys([*unknown, *(token for token in known if token not in self._rows)])
            rows.append([self._rows[token] for token in known if token in self._rows])
        if unread:
            words = ", ".join(f'"{word}"' for word in unread)
            known = [token for token in self.config.vocabulary if token.isalpha() or "-" in token]
            told = ", ".join(known[:_LISTED_WORDS]) + (", …" if len(known) > _LISTED_WORDS else "")
            logger.warning("Words the text expert does not know are ignored: %s; it knows %s.", words, told)
        if any(len(row) > self.config.max_tokens for row in rows):
            logger.warning("A caption has more than %d known words; the rest is ignored.", self.config.max_tokens)
            rows = [row[: self.config.max_tokens] for row in rows]
        length = max(1, *map(len, rows)) if rows else 1
        padded = [row + [0] * (length - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64, device=self.positions.device).view(len(rows), length)

    def encode(self, texts: str | Sequence[str]) -> Tensor:
        """Embedding of captions in free wording.

        Args:
            texts: B captions, or the one that a user gives: then the warning also names its words for people, which
                tell drawn faces nothing. One without known words (an empty one, say) gives zeros, the null condition.

        Returns:
            (B, dim).
        """
        if not isinstance(texts, str):
            return self(self.tokens(texts))
        return self(self.tokens([texts], people_in(texts) if self.config.lexicon == "faces" else ()))

"""Encoder of GLIDE's experts, which read a caption's tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..expert import Condition
from ..networks import TextTransformer, TextTransformerConfig
from ..text.tokenizers import GlideTokenizer
from .description import COLORS, Description, Fields, LowRes
from .key import Value, fingerprint
from .picture_inputs import PictureInputs
from .registry import register

_IDENTIFYING = ("final_ln.weight", "final_ln.bias", "transformer_proj.bias")  # tensors to tell text transformers by


@dataclass(frozen=True)
class TokensFields(Fields):
    """Entries of a description of the kind "tokens"."""

    text_transformer: dict
    low_res: LowRes = None
    inpaint: bool = False


@register
class GlideEncoder(PictureInputs):
    """Encoder of a GLIDE expert: a caption's tokens through the text transformer; null is a row without tokens.

    Attributes:
        transformer: The text transformer. A host that manages memory may replace it by any callable of the same
            signature that has its `config`; nothing else is used.

    Args:
        transformer: The file's text transformer.
        image_size: See `PictureInputs`.
        low_res: See `PictureInputs`.
        inpaint: See `PictureInputs`.
    """

    kind = "tokens"
    fields = TokensFields
    own_tensors = (
        "token_embedding.",
        "positional_embedding",
        "padding_embedding",
        "transformer.",
        "final_ln.",
        "transformer_proj.",
    )
    driven_by = "GLIDE's text"

    def __init__(
        self,
        transformer: TextTransformer,
        image_size: int,
        low_res: int | None = None,
        inpaint: bool = False,
    ):
        super().__init__(image_size, low_res, inpaint)
        self.transformer = transformer.eval().requires_grad_(False)
        self.tokenizer = GlideTokenizer(transformer.config.context_length)
        # Made here, because a host may replace the transformer by something without weights; and from a few small
        # tensors, which any training changes, because otherwise 400 MB of a memory-mapped file would be read.
        weights = {name: tensor for name, tensor in transformer.state_dict().items() if name in _IDENTIFYING}
        self._fingerprint = fingerprint(transformer.config.to_dict(), weights)

    @classmethod
    def build(cls, given: Description) -> "GlideEncoder":
        """From {"kind": "tokens", "text_transformer": {…}}, a `TextTransformerConfig`; see `Encoder.build`."""
        transformer = given.fill(TextTransformer, TextTransformerConfig.from_dict(given.spec["text_transformer"]))
        return cls(transformer, given.image_size, given.low_res, given.spec.get("inpaint", False))

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """A network that attends to the transformer's tokens, with channels for the pictures that there are."""
        text = TextTransformerConfig.from_dict(spec["text_transformer"])
        low_res_channels = 0 if spec.get("low_res") is None else COLORS
        inpaint = {"map_channels": COLORS + 1} if spec.get("inpaint") else {}
        return {
            "context_dim": text.width,
            "embedding_channels": text.pooled_dim,
            "low_res_channels": low_res_channels,
            **inpaint,
        }

    def _content(self) -> dict[str, Value]:
        return {"text transformer": self._fingerprint, **super()._content()}

    def null(self, batch: int = 1) -> Condition:
        """A row without tokens, `batch` times."""
        return self._no_tokens.expand(batch)

    @cached_property
    def _no_tokens(self) -> Condition:
        tokens = torch.zeros(1, self.transformer.config.context_length, dtype=torch.int64)
        with torch.inference_mode(False), torch.no_grad():  # it is cached, and may be used in training later
            return self.encode_tokens(tokens, torch.zeros_like(tokens, dtype=torch.bool))

    def check_text(self) -> None:
        """Refuse texts if the transformer has another tokenizer's vocabulary, see `Encoder.check_text`."""
        vocabulary = self.transformer.config.vocabulary
        if vocabulary != GlideTokenizer.vocabulary:
            raise ValueError(
                f"Expected a text transformer of {GlideTokenizer.vocabulary} tokens, GLIDE's, and this expert's knows "
                f"{vocabulary}; give `encode_tokens` the rows of its own tokenizer."
            )

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """Context of shape (B, L, width) and embedding of shape (B, D) of captions, see `Encoder.encode_text`."""
        self.check_text()
        return self.encode_tokens(*self.tokenizer([text] if isinstance(text, str) else text))

    def encode_tokens(self, tokens: Tensor, mask: Tensor) -> Condition:
        """Condition from token rows, as `TextTransformer.forward` takes them."""
        context, pooled = self.transformer(tokens, mask)
        return Condition(context=context, embedding=pooled)

    encode = encode_text

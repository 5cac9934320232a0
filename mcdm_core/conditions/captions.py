"""Encoder of experts that read captions through a text tower of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..expert import Condition
from ..networks import TextTower, TextTowerConfig
from .description import Description, Fields
from .encoder import Encoder
from .key import Value, fingerprint
from .registry import register

TEXT_PREFIX = "text_encoder."
"""Prefix of a text tower's tensors in an expert's file."""


@dataclass(frozen=True)
class TextFields(Fields):
    """Entries of a description of the kind "text"."""

    text_encoder: dict


@register
class TextEncoder(Encoder):
    """Encoder of an expert that reads text; the null is the zero embedding, as of an empty text.

    Args:
        tower: The text tower the expert was trained with.
        image_size: The expert's height and width in pixels.
    """

    kind = "text"
    fields = TextFields
    wants_noise = True
    own_tensors = (TEXT_PREFIX,)

    def __init__(self, tower: TextTower, image_size: int):
        super().__init__(image_size)
        self.driven_by = f"text about {tower.config.lexicon}"
        self.tower = tower.eval().requires_grad_(False)

    @classmethod
    def build(cls, given: Description) -> "TextEncoder":
        """From {"kind": "text", "text_encoder": {…}}, a `TextTowerConfig`; see `Encoder.build`."""
        config = TextTowerConfig.from_dict(given.spec["text_encoder"])
        tower = given.fill(TextTower, config).float()  # stored in half precision, too coarse to embed in
        return cls(tower, given.image_size)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """A network that reads one embedding of the tower's length."""
        return {"pooled_dim": TextTowerConfig.from_dict(spec["text_encoder"]).dim}

    def _content(self) -> dict[str, Value]:
        # Every tower has an embedding space of its own: the same words have other embeddings in another tower's.
        return {"text encoder": fingerprint(self.tower.config.to_dict(), self.tower.state_dict())}

    def null(self, batch: int = 1) -> Condition:
        """A zero embedding per row."""
        return Condition(embedding=torch.zeros(batch, self.tower.config.dim))

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """Embedding of captions, (B, dim), 0 for one without known words, see `Encoder.encode_text`."""
        return Condition(embedding=self.tower.encode(text))

    def check_text(self) -> None:
        """Refuse nothing: any text can be encoded."""

    encode = encode_text

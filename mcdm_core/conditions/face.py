"""Encoder of the paper's face network, which reads maps and text."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor

from ..expert import Condition
from ..expert.condition import expand_together
from ..networks import ClipTextTower
from ..system.fields import Between, Width
from .description import Description
from .key import Value
from .maps import MapsFields, MultiMapEncoder
from .registry import register


@dataclass(frozen=True, kw_only=True)
class FaceFields(MapsFields):
    """Entries of a description of the kind "face"."""

    map_channels: Annotated[int, Between(1, 4096)]
    embedding: Width


@register
class FaceEncoder(MultiMapEncoder):
    """Encoder of the paper's face network: maps of the face and the hair, and a text about them.

    Every condition has both maps and the embedding, zero where absent, so that rows may share a batch. The flag
    `text_active` changes the network's output even where the embedding is zero: a text sets it, and so does `with_text`
    for maps that are to share a batch with a text.

    Attributes:
        load_text: See Args. A host that manages memory may replace it before the first text; its result needs only the
            tower's `config` and `encode`.

    Args:
        names: Kinds of map in the order in which the network reads them.
        image_size: The expert's height and width in pixels.
        embedding_dim: Length of the embedding; 512 is FaRL's.
        channels_per_map: Channels in which each gray map is repeated.
        background: See `Encoder`; −1 for the published network.
        load_text: Loads FaRL's text tower, in evaluation mode and without gradients; it is called once, when the first
            text is encoded or checked.
    """

    kind = "face"
    fields = FaceFields
    driven_by = "face and hair maps and text"

    def __init__(
        self,
        names: Sequence[str],
        image_size: int,
        embedding_dim: int = 512,
        channels_per_map: int = 3,
        background: float = 0.0,
        load_text: Callable[[], ClipTextTower] | None = None,
    ):
        super().__init__(names, image_size, channels_per_map, background)
        self.driven_by = type(self).driven_by  # without the maps' order, which can be swapped
        self.embedding_dim = embedding_dim
        self.load_text = load_text

    @classmethod
    def build(cls, given: Description) -> "FaceEncoder":
        """From {"kind": "face", "maps": [in their order], "map_channels": 6, "embedding": 512}; see `Encoder.build`."""
        names, embedding = given.spec["maps"], given.spec["embedding"]
        per_map = given.spec["map_channels"] // len(names)
        return cls(names, given.image_size, embedding, per_map, given.background, given.load_text)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """A network with channels for all maps, which an embedding modulates."""
        if spec["map_channels"] % len(spec["maps"]):
            raise ValueError(
                f"map_channels of the condition should be so many for each of its {len(spec['maps'])} maps and is "
                f"{spec['map_channels']}; export the expert again."
            )
        return {"map_channels": spec["map_channels"] * downscale**2, "film_dim": spec["embedding"]}

    def _content(self) -> dict[str, Value]:
        # Of the text tower only the embedding's length: an installation has one FaRL for all its experts, and its file
        # should not be read before there is a text. Names are sorted, since conditions may have either order of maps.
        names = tuple(sorted(self.names))
        return {**super()._content(), "maps": names, "length of embeddings": float(self.embedding_dim)}

    @cached_property
    def text_tower(self) -> ClipTextTower:
        """FaRL's text tower.

        Raises:
            ValueError: If its file is missing or cannot be used.
        """
        if self.load_text is None:
            raise ValueError(
                "This expert reads a text's embedding by FaRL, whose file was not given; pass it to `load_expert` as "
                "`text_encoder`."
            )
        tower = self.load_text()
        if tower.config.dim != self.embedding_dim:
            raise ValueError(
                f"Expected a text encoder whose embeddings have length {self.embedding_dim} and got one of "
                f"{tower.config.dim}; use FaRL-Base-Patch16-LAIONFace20M-ep64.pth."
            )
        return tower

    def check_text(self) -> None:
        """Load the text tower, and refuse one that does not fit, see `Encoder.check_text`."""
        _ = self.text_tower  # its first use loads and checks it

    def null(self, batch: int = 1) -> Condition:
        """No maps and a zero embedding; text is not active."""
        return replace(super().null(batch), embedding=torch.zeros(batch, self.embedding_dim))

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """FaRL's embedding of captions, without maps; text is active, see `Encoder.encode_text`."""
        return self.encode_embedding(self.text_tower.encode([text] if isinstance(text, str) else text))

    def encode_embedding(self, embedding: Tensor) -> Condition:
        """Condition from FaRL's embedding of a text or a picture, without maps; text is active.

        Args:
            embedding: Of unit length, shape (B, embedding_dim).

        Raises:
            ValueError: If the embedding has another shape.
        """
        if embedding.ndim != 2 or embedding.shape[1] != self.embedding_dim:
            raise ValueError(
                f"Expected embeddings of shape (B, {self.embedding_dim}) and got {tuple(embedding.shape)}; encode the "
                "text with FaRL."
            )
        return replace(self.null(len(embedding)), embedding=embedding, text_active=True)

    def merge(self, first: Condition, second: Condition) -> Condition:
        """One condition with the maps and the text of both; text is active if it is in either."""
        first, second = expand_together(first, second)
        mine, theirs = (self._field(condition, "embedding") for condition in (first, second))
        if mine.any() and theirs.any():
            raise ValueError(
                "Expected a text in one of the prompts to merge and got two texts; disconnect one, or write both "
                "into one text."
            )
        text_active = first.text_active or second.text_active
        return replace(super().merge(first, second), embedding=mine + theirs.to(mine), text_active=text_active)

    def with_text(self, condition: Condition) -> Condition:
        """The condition with the text flag set, as its network reads text beside maps."""
        return replace(condition, text_active=True)

    def swapped(self) -> "FaceEncoder":
        """The same with its maps in the other order: the network was trained hair first and is sampled face first."""
        other = copy(self)
        other.names = self.names[::-1]
        return other

    def _conditioned(self, channel: Tensor, name: str) -> Condition:
        return replace(self.null(len(channel)), maps=super()._conditioned(channel, name).maps)

"""Encoders: what a person gives an expert, turned into a `Condition`.

Every encoder has the three methods `encode_text`, `encode_map` and `encode_sketch`; those that its expert was not
trained for refuse with one sentence. `encode` is the one that works.
"""

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from ..condition import Condition
from .maps import AUTO, canonical_map, read_map
from .sketch import HIGH_THRESHOLD, LOW_THRESHOLD, SketchSource, read_sketch
from .text import TextTower


class Encoder:
    """Encoder of an expert that takes no condition; the base of the others.

    Attributes:
        kind: "none", "map", "maps", "sketch" or "text".
        driven_by: The same for people: "a hair map", say.

    Args:
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
    """

    kind = "none"
    driven_by = "no condition"

    def __init__(self, image_size: int, channels: int = 3):
        self.image_size = image_size
        self.channels = channels

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.driven_by}, {self.image_size} px)"

    def null(self, batch: int = 1) -> Condition:
        """The null condition ∅ for `batch` rows."""
        return Condition()

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """Condition from one caption or one per row.

        Raises:
            ValueError: If the expert is not driven by text.
        """
        self._refuse("text")

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """Condition from a segmentation map.

        Args:
            image: ComfyUI's IMAGE (B, H, W, C) with gray values or MASK (B, H, W); 0…1, resized as needed.
            kind: What the map shows: "hair", "face" (the skin; "skin" is the same), or "auto": what the expert reads.

        Raises:
            ValueError: If the expert is not driven by this kind of map, or the image cannot be one (see `read_map`).
        """
        self._refuse("a segmentation map")

    def encode_sketch(
        self,
        image: Tensor,
        source: SketchSource | str = SketchSource.EDGES,
        low: float = LOW_THRESHOLD,
        high: float = HIGH_THRESHOLD,
    ) -> Condition:
        """Condition from a picture's edges or from a drawing.

        Args:
            image: ComfyUI's IMAGE (B, H, W, C) or MASK (B, H, W), 0…1, resized as needed.
            source: What the image is; a `SketchSource` or its value.
            low: Lower threshold of the edge finder.
            high: Upper threshold of the edge finder.

        Raises:
            ValueError: If the expert is not driven by sketches, or the image cannot be one (see `read_sketch`).
        """
        self._refuse("a sketch")

    def _refuse(self, given: str) -> NoReturn:
        remedy = "leave its condition unconnected" if self.kind == "none" else f"give it {self.driven_by}"
        raise ValueError(
            f"This expert is driven by {self.driven_by}, not by {given}; {remedy} or load an expert that reads {given}."
        )


class MapEncoder(Encoder):
    """Encoder of an expert that reads one segmentation map; null is a black map.

    Args:
        name: Kind of map: "hair" or "skin".
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
    """

    kind = "map"

    def __init__(self, name: str, image_size: int, channels: int = 3):
        super().__init__(image_size, channels)
        self.name = canonical_map(name)
        self.driven_by = f"a {self.name} map"

    def null(self, batch: int = 1) -> Condition:
        """A black map per row."""
        return Condition(maps=torch.zeros(batch, 1, self.image_size, self.image_size))

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """See `Encoder.encode_map`; maps of shape (B, 1, size, size)."""
        if kind != AUTO and canonical_map(kind) != self.name:
            self._refuse(f"a {kind} map")
        return Condition(maps=read_map(image, self.name, self.image_size))

    encode = encode_map


class MultiMapEncoder(Encoder):
    """Encoder of an expert that reads several maps, each in its own channel; absent maps are black, null is all black.

    Args:
        names: Kinds of map in the order of their channels.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
    """

    kind = "maps"

    def __init__(self, names: Sequence[str], image_size: int, channels: int = 3):
        super().__init__(image_size, channels)
        self.names = tuple(map(canonical_map, names))
        self.driven_by = " or ".join(f"a {name} map" if name != "sketch" else "a sketch" for name in self.names)

    def null(self, batch: int = 1) -> Condition:
        """Black maps in every channel."""
        return Condition(maps=torch.zeros(batch, len(self.names), self.image_size, self.image_size))

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """See `Encoder.encode_map`; maps of shape (B, len(names), size, size). `kind` can't be "auto" here."""
        name = canonical_map(kind)
        if name == AUTO:
            choices = ", ".join(name for name in self.names if name != "sketch")
            raise ValueError(f'This expert reads several maps, so "auto" is not enough; choose one of {choices}.')
        if name not in self.names or name == "sketch":
            self._refuse(f"a {kind} map")
        return self._place(read_map(image, name, self.image_size), name)

    def encode_sketch(
        self,
        image: Tensor,
        source: SketchSource | str = SketchSource.EDGES,
        low: float = LOW_THRESHOLD,
        high: float = HIGH_THRESHOLD,
    ) -> Condition:
        """See `Encoder.encode_sketch`; maps of shape (B, len(names), size, size)."""
        if "sketch" not in self.names:
            self._refuse("a sketch")
        return self._place(read_sketch(image, self.image_size, source, low, high), "sketch")

    encode = encode_map

    def _place(self, channel: Tensor, name: str) -> Condition:
        maps = channel.new_zeros(len(channel), len(self.names), self.image_size, self.image_size)
        maps[:, self.names.index(name)] = channel[:, 0]
        return Condition(maps=maps)


class SketchEncoder(Encoder):
    """Encoder of an expert that reads sketches, light lines on black; null is a black sketch."""

    kind = "sketch"
    driven_by = "a sketch"

    def null(self, batch: int = 1) -> Condition:
        """A black sketch per row."""
        return Condition(maps=torch.zeros(batch, 1, self.image_size, self.image_size))

    def encode_sketch(
        self,
        image: Tensor,
        source: SketchSource | str = SketchSource.EDGES,
        low: float = LOW_THRESHOLD,
        high: float = HIGH_THRESHOLD,
    ) -> Condition:
        """See `Encoder.encode_sketch`; maps of shape (B, 1, size, size)."""
        return Condition(maps=read_sketch(image, self.image_size, source, low, high))

    encode = encode_sketch


class TextEncoder(Encoder):
    """Encoder of an expert that reads text; null is the zero embedding, which is also what an empty text gives.

    Args:
        tower: The text tower the expert was trained with.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
    """

    kind = "text"
    driven_by = "text"

    def __init__(self, tower: TextTower, image_size: int, channels: int = 3):
        super().__init__(image_size, channels)
        self.tower = tower.eval().requires_grad_(False)

    def null(self, batch: int = 1) -> Condition:
        """A zero embedding per row."""
        return Condition(embedding=torch.zeros(batch, self.tower.config.dim))

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """See `Encoder.encode_text`; embedding of shape (B, dim), 0 where nothing is said."""
        return Condition(embedding=self.tower.encode([text] if isinstance(text, str) else text))

    encode = encode_text

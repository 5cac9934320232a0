"""Encoders of experts that read maps, sketches or captions."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..expert.condition import Condition, expand_together
from ..networks.text_tower import TextTower
from .encoder import Encoder
from .key import Value, fingerprint
from .reading.maps import AUTO, canonical_map, read_map
from .reading.sketch import HIGH_THRESHOLD, LOW_THRESHOLD, SketchSource, read_sketch


def map_content(names: Sequence[str], channels_per_map: int, background: float) -> dict[str, Value]:
    """What maps are, for an encoder's key: the same whether one encoder makes several or each has its own."""
    return {"maps": tuple(names), "channels per map": float(channels_per_map), "black as": float(background)}


class MapEncoder(Encoder):
    """Encoder of an expert that reads one segmentation map; null is 0 everywhere.

    Args:
        name: Kind of map: "hair" or "skin".
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        background: See `Encoder`.
    """

    kind = "map"

    def __init__(self, name: str, image_size: int, channels: int = 3, background: float = 0.0):
        super().__init__(image_size, channels)
        self.background = background
        self.name = canonical_map(name)
        self.driven_by = f"a {self.name} map"

    def _content(self) -> dict[str, Value]:
        return map_content([self.name], 1, self.background)

    def null(self, batch: int = 1) -> Condition:
        """No map, per row."""
        return Condition(maps=torch.zeros(batch, 1, self.image_size, self.image_size))

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """See `Encoder.encode_map`; maps of shape (B, 1, size, size)."""
        if kind != AUTO and canonical_map(kind) != self.name:
            self._refuse(f"a {kind} map")
        return Condition(maps=self._as_told(read_map(image, self.name, self.image_size)))

    encode = encode_map


class MultiMapEncoder(Encoder):
    """Encoder of an expert that reads several maps, each in its own channels; absent maps are 0, the null is all 0.

    Args:
        names: Kinds of map in the order of their channels.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        channels_per_map: Channels in which each gray map is repeated.
        background: See `Encoder`.
    """

    kind = "maps"

    def __init__(
        self,
        names: Sequence[str],
        image_size: int,
        channels: int = 3,
        channels_per_map: int = 1,
        background: float = 0.0,
    ):
        super().__init__(image_size, channels)
        self.channels_per_map = channels_per_map
        self.background = background
        self.names = tuple(map(canonical_map, names))
        self.driven_by = " or ".join(f"a {name} map" if name != "sketch" else "a sketch" for name in self.names)

    def _content(self) -> dict[str, Value]:
        return map_content(self.names, self.channels_per_map, self.background)

    def null(self, batch: int = 1) -> Condition:
        """No map in any channel."""
        count = len(self.names) * self.channels_per_map
        return Condition(maps=torch.zeros(batch, count, self.image_size, self.image_size))

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """See `Encoder.encode_map`; all maps in one condition. `kind` can't be "auto" here."""
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
        """See `Encoder.encode_sketch`; all maps in one condition."""
        if "sketch" not in self.names:
            self._refuse("a sketch")
        return self._place(read_sketch(image, self.image_size, source, low, high), "sketch")

    encode = encode_map

    def merge(self, first: Condition, second: Condition) -> Condition:
        """See `Encoder.merge`; where both have a map of one kind, what either shows."""
        first, second = expand_together(first, second)
        mine, theirs = (self._field(condition, "maps") for condition in (first, second))
        kinds = zip(*(maps.split(self.channels_per_map, dim=1) for maps in (mine, theirs.to(mine))), strict=True)
        return replace(first, maps=torch.cat([_either(*kind) for kind in kinds], dim=1))

    def _place(self, channel: Tensor, name: str) -> Condition:
        maps = channel.new_zeros(len(channel), len(self.names), self.channels_per_map, *channel.shape[2:])
        maps[:, self.names.index(name)] = self._as_told(channel)
        return Condition(maps=maps.flatten(1, 2))


def _either(first: Tensor, second: Tensor) -> Tensor:
    """Of two maps of one kind the one that is there, which is not 0 everywhere; of both, what either shows."""
    if not first.any() or not second.any():
        return first + second
    return torch.maximum(first, second)


class SketchEncoder(Encoder):
    """Encoder of an expert that reads sketches, light lines on black; null is 0 everywhere.

    Args:
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        map_channels: Channels in which the gray sketch is repeated.
        background: See `Encoder`.
    """

    kind = "sketch"
    driven_by = "a sketch"

    def __init__(self, image_size: int, channels: int = 3, map_channels: int = 1, background: float = 0.0):
        super().__init__(image_size, channels)
        self.map_channels = map_channels
        self.background = background

    def _content(self) -> dict[str, Value]:
        return map_content(["sketch"], self.map_channels, self.background)

    def null(self, batch: int = 1) -> Condition:
        """No sketch, per row."""
        return Condition(maps=torch.zeros(batch, self.map_channels, self.image_size, self.image_size))

    def encode_sketch(
        self,
        image: Tensor,
        source: SketchSource | str = SketchSource.EDGES,
        low: float = LOW_THRESHOLD,
        high: float = HIGH_THRESHOLD,
    ) -> Condition:
        """See `Encoder.encode_sketch`; maps of shape (B, map_channels, size, size)."""
        sketch = read_sketch(image, self.image_size, source, low, high)
        return Condition(maps=self._as_told(sketch).expand(-1, self.map_channels, -1, -1))

    encode = encode_sketch


class TextEncoder(Encoder):
    """Encoder of an expert that reads text; null is the zero embedding, which is also what an empty text gives.

    Args:
        tower: The text tower the expert was trained with.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
    """

    kind = "text"

    def __init__(self, tower: TextTower, image_size: int, channels: int = 3):
        super().__init__(image_size, channels)
        self.driven_by = f"text about {tower.config.lexicon}"
        self.tower = tower.eval().requires_grad_(False)

    def _content(self) -> dict[str, Value]:
        # Every tower has a space of its own: another one's embedding of the same words means something else.
        return {"text encoder": fingerprint(self.tower.config.to_dict(), self.tower.state_dict())}

    def null(self, batch: int = 1) -> Condition:
        """A zero embedding per row."""
        return Condition(embedding=torch.zeros(batch, self.tower.config.dim))

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """See `Encoder.encode_text`; embedding of shape (B, dim), 0 where nothing is said."""
        return Condition(embedding=self.tower.encode([text] if isinstance(text, str) else text))

    def check_text(self) -> None:
        """See `Encoder.check_text`; any text will do."""

    encode = encode_text

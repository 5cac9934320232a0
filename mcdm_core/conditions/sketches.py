"""Encoder of experts that read sketches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor

from ..expert import Condition
from ..system.fields import Between
from .description import Background, Description, Fields
from .encoder import Encoder
from .key import Value
from .maps import map_content
from .reading.sketch import HIGH_THRESHOLD, LOW_THRESHOLD, SketchSource, read_sketch
from .registry import register


@dataclass(frozen=True)
class SketchFields(Fields):
    """Entries of a description of the kind "sketch"."""

    map_channels: Annotated[int, Between(1, 64)] = 1
    background: Background = 0.0


@register
class SketchEncoder(Encoder):
    """Encoder of an expert that reads sketches, light lines on black; null is 0 everywhere.

    Args:
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        map_channels: Channels in which the gray sketch is repeated.
        background: See `Encoder`.
    """

    kind = "sketch"
    reads_maps = True
    fields = SketchFields
    driven_by = "a sketch"

    def __init__(self, image_size: int, channels: int = 3, map_channels: int = 1, background: float = 0.0):
        super().__init__(image_size, channels)
        self.map_channels = map_channels
        self.background = background

    @classmethod
    def build(cls, given: Description) -> "SketchEncoder":
        """From {"kind": "sketch"}, with "map_channels" where it isn't 1; see `Encoder.build`."""
        return cls(given.image_size, given.channels, given.spec.get("map_channels", 1), given.background)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """See `Encoder.network_fields`."""
        return {"map_channels": spec.get("map_channels", 1) * downscale**2}

    def _content(self) -> dict[str, Value]:
        return map_content(self, ["sketch"], self.map_channels)

    def null(self, batch: int = 1) -> Condition:
        """No sketch, per row."""
        return Condition(maps=self._null_maps(batch, self.map_channels))

    def encode_sketch(
        self,
        image: Tensor,
        source: SketchSource | str = SketchSource.EDGES,
        low: float = LOW_THRESHOLD,
        high: float = HIGH_THRESHOLD,
    ) -> Condition:
        """See `Encoder.encode_sketch`; maps of shape (B, map_channels·downscale², sample_size, sample_size)."""
        sketch = read_sketch(image, self.image_size, source, low, high)
        return Condition(maps=self._folded(self._rescaled(sketch).expand(-1, self.map_channels, -1, -1)))

    encode = encode_sketch

"""Encoders of experts that read segmentation maps and sketches, one or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..expert import Condition
from ..expert.condition import expand_together
from ..system.fields import Between, Line
from .description import Background, Description, Fields, Maps
from .encoder import Encoder
from .key import Value
from .reading.maps import AUTO, canonical_map, read_map
from .reading.sketch import HIGH_THRESHOLD, LOW_THRESHOLD, SketchSource, read_sketch
from .registry import register


@dataclass(frozen=True)
class MapFields(Fields):
    """Entries of a description of the kind "map"."""

    map: Line
    background: Background = 0.0


@dataclass(frozen=True)
class SketchFields(Fields):
    """Entries of a description of the kind "sketch"."""

    map_channels: Annotated[int, Between(1, 64)] = 1
    background: Background = 0.0


@dataclass(frozen=True)
class MapsFields(Fields):
    """Entries of a description of the kind "maps"."""

    maps: Maps
    background: Background = 0.0


@register
class MultiMapEncoder(Encoder):
    """Encoder of an expert that reads several maps, each in its own channels; absent maps are 0, the null is all 0.

    Args:
        names: Kinds of map in the order of their channels.
        image_size: The expert's height and width in pixels.
        channels_per_map: Channels in which each gray map is repeated.
        background: See `Encoder`.
    """

    kind = "maps"
    reads_maps = True
    fields: type = MapsFields

    def __init__(
        self,
        names: Sequence[str],
        image_size: int,
        channels_per_map: int = 1,
        background: float = 0.0,
    ):
        super().__init__(image_size)
        self.channels_per_map = channels_per_map
        self.background = background
        self.names = tuple(map(canonical_map, names))
        self.driven_by = " or ".join(f"a {name} map" if name != "sketch" else "a sketch" for name in self.names)

    @classmethod
    def build(cls, given: Description) -> "MultiMapEncoder":
        """From {"kind": "maps", "maps": ["hair", "skin"]}; see `Encoder.build`."""
        return cls(given.spec["maps"], given.image_size, background=given.background)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """A network with channels for all maps."""
        return {"map_channels": len(spec["maps"]) * downscale**2}

    def _content(self) -> dict[str, Value]:
        return {
            "maps": self.names,
            "channels per map": float(self.channels_per_map),
            "black as": float(self.background),
            "pixels folded": float(self.downscale),
        }

    def null(self, batch: int = 1) -> Condition:
        """No map in any channel."""
        channels = len(self.names) * self.channels_per_map * self.downscale**2
        return Condition(maps=torch.zeros(batch, channels, self.sample_size, self.sample_size))

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """One condition with the channels of all maps; `kind` can't be "auto" here, see `Encoder.encode_map`."""
        name = canonical_map(kind)
        if name == AUTO:
            choices = ", ".join(name for name in self.names if name != "sketch")
            raise ValueError(f'This expert reads several maps, so "auto" is not enough; choose one of {choices}.')
        if name not in self.names or name == "sketch":
            self._refuse(f"a {kind} map")
        return self._conditioned(read_map(image, name, self.image_size), name)

    def encode_sketch(
        self,
        image: Tensor,
        source: SketchSource | str = SketchSource.EDGES,
        low: float = LOW_THRESHOLD,
        high: float = HIGH_THRESHOLD,
    ) -> Condition:
        """One condition with the channels of all maps, see `Encoder.encode_sketch`."""
        if "sketch" not in self.names:
            self._refuse("a sketch")
        return self._conditioned(read_sketch(image, self.image_size, source, low, high), "sketch")

    encode = encode_map

    def merge(self, first: Condition, second: Condition) -> Condition:
        """One condition with the maps of both; of two of one kind, the pixelwise maximum."""
        first, second = expand_together(first, second)
        mine, theirs = (
            rearrange(self._field(condition, "maps"), "b (maps c) h w -> maps b c h w", maps=len(self.names))
            for condition in (first, second)
        )
        merged = [_either(*of_one_kind) for of_one_kind in zip(mine, theirs.to(mine), strict=True)]
        return replace(first, maps=rearrange(merged, "maps b c h w -> b (maps c) h w"))

    def _field(self, condition: Condition, name: str) -> Tensor:
        """A field that all of this encoder's conditions have."""
        value = condition.tensors().get(name)
        if value is None or value.shape[1:] != self.null().tensors()[name].shape[1:]:
            raise ValueError(
                f"Expected a prompt for an expert driven by {self.driven_by} and got one of another expert; encode it "
                "with this expert's encoder."
            )
        return value

    def _conditioned(self, channel: Tensor, name: str) -> Condition:
        """The condition of one map or sketch of values 0…1, rescaled to background…1, in its own channels."""
        maps = channel.new_zeros(len(channel), len(self.names), self.channels_per_map, *channel.shape[2:])
        maps[:, self.names.index(name)] = self.background + (1 - self.background) * channel
        return Condition(maps=F.pixel_unshuffle(rearrange(maps, "b maps c h w -> b (maps c) h w"), self.downscale))


@register
class MapEncoder(MultiMapEncoder):
    """Encoder of an expert that reads one segmentation map; null is 0 everywhere.

    Args:
        name: Kind of map: "hair" or "skin".
        image_size: The expert's height and width in pixels.
        background: See `Encoder`.
    """

    kind = "map"
    fields = MapFields
    merge = Encoder.merge

    def __init__(self, name: str, image_size: int, background: float = 0.0):
        super().__init__([name], image_size, background=background)

    @classmethod
    def build(cls, given: Description) -> "MapEncoder":
        """From {"kind": "map", "map": "hair"}; see `Encoder.build`."""
        return cls(given.spec["map"], given.image_size, given.background)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """A network with channels for one map."""
        return {"map_channels": downscale**2}

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """Maps of shape (B, downscale², sample_size, sample_size), see `Encoder.encode_map`."""
        return super().encode_map(image, self.names[0] if kind == AUTO else kind)

    encode = encode_map


@register
class SketchEncoder(MultiMapEncoder):
    """Encoder of an expert that reads sketches, light lines on black; null is 0 everywhere.

    Args:
        image_size: The expert's height and width in pixels.
        map_channels: Channels in which the gray sketch is repeated.
        background: See `Encoder`.
    """

    kind = "sketch"
    fields = SketchFields
    merge = Encoder.merge
    encode_map = Encoder.encode_map
    encode = MultiMapEncoder.encode_sketch  # type: ignore[assignment]  # a sketch takes other arguments than a map

    def __init__(self, image_size: int, map_channels: int = 1, background: float = 0.0):
        super().__init__(["sketch"], image_size, map_channels, background)

    @classmethod
    def build(cls, given: Description) -> "SketchEncoder":
        """From {"kind": "sketch"}, with "map_channels" where it isn't 1; see `Encoder.build`."""
        return cls(given.image_size, given.spec.get("map_channels", 1), given.background)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """A network with channels for the sketch."""
        return {"map_channels": spec.get("map_channels", 1) * downscale**2}


def _either(first: Tensor, second: Tensor) -> Tensor:
    """The one of two maps that is not 0 everywhere; the pixelwise maximum if both aren't."""
    if not first.any() or not second.any():
        return first + second
    return torch.maximum(first, second)

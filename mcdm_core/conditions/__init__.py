"""Conditions: from maps, sketches and captions to what a network reads."""

from .build import build_encoder
from .encoders import Encoder, MapEncoder, MultiMapEncoder, SketchEncoder, TextEncoder
from .sketch import SketchSource, edges
from .text import TextTower, TextTowerConfig

__all__ = [
    "Encoder",
    "MapEncoder",
    "MultiMapEncoder",
    "SketchEncoder",
    "SketchSource",
    "TextEncoder",
    "TextTower",
    "TextTowerConfig",
    "build_encoder",
    "edges",
]

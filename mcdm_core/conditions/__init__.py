"""Conditions: from maps, sketches and captions to what a network reads."""

from .build import build_encoder
from .clip import ClipTextTower
from .clip_files import load_towers, tower_kinds
from .encoder import Encoder
from .encoders import MapEncoder, MultiMapEncoder, SketchEncoder, TextEncoder
from .published import ClassEncoder, FaceEncoder, GlideEncoder
from .sketch import SketchSource, edges
from .text import TextTower, TextTowerConfig

__all__ = [
    "ClassEncoder",
    "ClipTextTower",
    "Encoder",
    "FaceEncoder",
    "GlideEncoder",
    "MapEncoder",
    "MultiMapEncoder",
    "SketchEncoder",
    "SketchSource",
    "TextEncoder",
    "TextTower",
    "TextTowerConfig",
    "build_encoder",
    "edges",
    "load_towers",
    "tower_kinds",
]

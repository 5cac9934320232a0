"""Conditions: from maps, sketches and captions to what a network reads."""

from ..checkpoints.towers import load_towers, tower_kinds
from ..networks.clip import ClipTextTower
from ..networks.text_tower import TextTower, TextTowerConfig
from .encoder import Encoder
from .encoders import MapEncoder, MultiMapEncoder, SketchEncoder, TextEncoder
from .key import EncoderKey
from .published import ClassEncoder, FaceEncoder, GlideEncoder
from .reading.sketch import SketchSource, edges
from .registry import build_encoder

__all__ = [
    "ClassEncoder",
    "ClipTextTower",
    "Encoder",
    "EncoderKey",
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

"""Encoders from maps, sketches, captions, classes and pictures to a network's conditions."""

from .captions import TextEncoder
from .classes import ClassEncoder
from .encoder import Encoder
from .face import FaceEncoder
from .glide import GlideEncoder
from .key import EncoderKey
from .maps import MapEncoder, MultiMapEncoder, SketchEncoder
from .reading.sketch import SketchSource, edges
from .registry import build_encoder, check_condition, encoder_of_kind

__all__ = [
    "ClassEncoder",
    "Encoder",
    "EncoderKey",
    "FaceEncoder",
    "GlideEncoder",
    "MapEncoder",
    "MultiMapEncoder",
    "SketchEncoder",
    "SketchSource",
    "TextEncoder",
    "build_encoder",
    "check_condition",
    "edges",
    "encoder_of_kind",
]

"""Expert files: safe reading, recognition, loading and saving."""

from .contents import CheckpointError
from .load import load_expert, read_encoder, read_metadata
from .lora import with_lora
from .metadata import ExpertMetadata
from .recognition import Overrides
from .safe_reading import read_checkpoint
from .save import convert_expert, save_expert
from .text_tower import load_text_tower

__all__ = [
    "CheckpointError",
    "ExpertMetadata",
    "Overrides",
    "convert_expert",
    "load_expert",
    "load_text_tower",
    "read_checkpoint",
    "read_encoder",
    "read_metadata",
    "save_expert",
    "with_lora",
]

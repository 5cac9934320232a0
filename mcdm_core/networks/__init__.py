"""Denoising networks, and the text and image encoders beside them."""

from .clip import ClipTextConfig, ClipTextTower
from .image_encoder import ImageEncoder
from .text_tower import TextTower, TextTowerConfig
from .text_transformer import TextTransformer, TextTransformerConfig
from .unet import UNet, enlarge
from .unet_config import UNetConfig

__all__ = [
    "ClipTextConfig",
    "ClipTextTower",
    "ImageEncoder",
    "TextTower",
    "TextTowerConfig",
    "TextTransformer",
    "TextTransformerConfig",
    "UNet",
    "UNetConfig",
    "enlarge",
]

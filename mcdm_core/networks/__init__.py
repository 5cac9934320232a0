"""Denoising networks, and the text and image encoders beside them."""

from .clip import ClipImageConfig, ClipImageTower, ClipTextConfig, ClipTextTower
from .glide_clip import GlideClipImageConfig, GlideClipImageTower, GlideClipTextConfig, GlideClipTextTower
from .image_encoder import ImageEncoder
from .text_tower import TextTower, TextTowerConfig
from .text_transformer import TextTransformer, TextTransformerConfig
from .unet import UNet, enlarge
from .unet_config import UNetConfig

__all__ = [
    "ClipImageConfig",
    "ClipImageTower",
    "ClipTextConfig",
    "ClipTextTower",
    "GlideClipImageConfig",
    "GlideClipImageTower",
    "GlideClipTextConfig",
    "GlideClipTextTower",
    "ImageEncoder",
    "TextTower",
    "TextTowerConfig",
    "TextTransformer",
    "TextTransformerConfig",
    "UNet",
    "UNetConfig",
    "enlarge",
]

"""Denoising networks, and the transformer that reads the text of some."""

from .text_transformer import TextTransformer, TextTransformerConfig
from .unet import UNet, UNetConfig, enlarge

__all__ = ["TextTransformer", "TextTransformerConfig", "UNet", "UNetConfig", "enlarge"]

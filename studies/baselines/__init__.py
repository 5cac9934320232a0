"""Baseline for products of diffusion experts: a conditional GAN of segmentation maps.

Training it needs `requirements-train.txt`, generating does not.
"""

from .files import load_gan, save_gan
from .generator import Generator, GeneratorConfig

__all__ = ["Generator", "GeneratorConfig", "load_gan", "save_gan"]

"""ComfyUI's families of networks, each as small as it can be built, by the names of `comfy.supported_models`."""

from .audio_and_shapes import AUDIO_AND_SHAPES
from .family import Family
from .pixels import PIXELS
from .transformers import TRANSFORMERS
from .unets import UNETS
from .videos import VIDEOS
from .wan import WAN

FAMILIES: dict[str, Family] = {**UNETS, **TRANSFORMERS, **PIXELS, **VIDEOS, **WAN, **AUDIO_AND_SHAPES}

# Classes of ComfyUI 0.33.0 that are not in the tables, and why.
LEFT_OUT = {
    "LTXAV": "its latent is a video packed with its sound",
    "MiniMaxH3": "its latent is a video packed with its sound",
    "TripoSplat": "its latent is packed with a camera",
    "MiniMaxMusic3": "its network comes in one size",
    "Trellis2": "its latent is a list of places, which its own nodes find",
    "RT_DETR_v4": "it detects objects and is not sampled",
    "DepthAnything3": "it estimates depth and is not sampled",
    "SAM3": "it segments and is not sampled",
    "SAM31": "it segments and is not sampled",
}

__all__ = ["FAMILIES", "LEFT_OUT", "Family"]

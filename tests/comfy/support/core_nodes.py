"""ComfyUI's own nodes that attach something to a MODEL, with settings for the small networks of `families`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP


@dataclass(frozen=True)
class CoreNode:
    """A node that takes a MODEL and returns one.

    Attributes:
        module: Its module in comfy_extras, without "nodes_".
        name: Name of its class.
        inputs: Its inputs beside the MODEL.
        family: The family that it is made for.
        pictures: Number of pictures in the batch; a few of these nodes take only one.
        seeded: Whether it draws from torch's generator at every call of the network; it is then seeded before each.
        asks: Whether its hook calls the network, and so acts on its own expert's prediction.
    """

    module: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    family: str = "SD15"
    pictures: int = 2
    seeded: bool = False
    asks: bool = False

    def attach(self, model: Any) -> Any:
        """A clone of the MODEL with the node's attachment."""
        attached = run_node(self.module, self.name, model=model, **self.inputs)
        if self.seeded:
            seed_every_call(attached)
        return attached


def run_node(module: str, name: str, **inputs: Any) -> Any:
    """The first output of one of ComfyUI's nodes, of either API."""
    cls = getattr(importlib.import_module(f"comfy_extras.nodes_{module}"), name)
    run = cls.execute if hasattr(cls, "define_schema") else getattr(cls(), cls.FUNCTION)
    output = run(**inputs)
    return getattr(output, "args", output)[0]


def seed_every_call(model: Any) -> None:
    def seeded(executor: Any, *args: Any, **kwargs: Any) -> Any:
        torch.manual_seed(7)
        return executor(*args, **kwargs)

    model.add_wrapper(WrappersMP.DIFFUSION_MODEL, seeded)


_FREE_U = {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}
_WINDOWS = {
    "context_length": 4,
    "context_overlap": 2,
    "context_schedule": "standard_static",
    "context_stride": 1,
    "closed_loop": False,
    "fuse_method": "pyramid",
    "freenoise": False,
}
_ROPE = {"scale_x": 1.5, "shift_x": 0.5, "scale_y": 0.8, "shift_y": 0.0, "scale_t": 1.0, "shift_t": 0.0}
_LAYERS = {"start_percent": 0.0, "end_percent": 1.0}
_SKIPPED = {**_LAYERS, "double_layers": "0", "single_layers": ""}
_DOWNSCALE = {
    "block_number": 1,
    "downscale_factor": 2.0,
    "start_percent": 0.0,
    "end_percent": 0.7,
    "downscale_after_skip": True,
    "downscale_method": "bicubic",
    "upscale_method": "bicubic",
}

# These nodes act in the network: each expert keeps its own.
ON_PREDICTIONS = {
    "FreeU": CoreNode("freelunch", "FreeU", _FREE_U),
    "FreeU_V2": CoreNode("freelunch", "FreeU_V2", _FREE_U),
    "HyperTile": CoreNode(
        "hypertile", "HyperTile", {"tile_size": 32, "swap_size": 1, "max_depth": 0, "scale_depth": False}
    ),
    "TomePatchModel": CoreNode("tomesd", "TomePatchModel", {"ratio": 0.5}, seeded=True),
    "PatchModelAddDownscale": CoreNode("model_downscale", "PatchModelAddDownscale", _DOWNSCALE),
    "UNetSelfAttentionMultiply": CoreNode(
        "attention_multiply", "UNetSelfAttentionMultiply", {"q": 1.3, "k": 1.1, "v": 0.8, "out": 1.2}
    ),
    "UNetCrossAttentionMultiply": CoreNode(
        "attention_multiply", "UNetCrossAttentionMultiply", {"q": 1.3, "k": 1.1, "v": 0.8, "out": 1.2}
    ),
    "ModelComputeDtype": CoreNode("model_advanced", "ModelComputeDtype", {"dtype": "bf16"}),
    "SkipLayerGuidanceDiTSimple": CoreNode("slg", "SkipLayerGuidanceDiTSimple", _SKIPPED, "SD3"),
    "ScaleROPE": CoreNode("rope", "ScaleROPE", _ROPE, "Flux"),
    "ContextWindowsManual": CoreNode("context_windows", "ContextWindowsManualNode", {**_WINDOWS, "dim": 3}, pictures=1),
    "ContextWindowsManual on frames": CoreNode(
        "context_windows",
        "ContextWindowsManualNode",
        {**_WINDOWS, "context_length": 2, "context_overlap": 1, "dim": 2},
        "WAN21_T2V",
        pictures=1,
    ),
}

# These nodes act on guidance. Those of the first expert act on the product, or, if they call the network, on that
# expert; those of other experts don't run, and a warning says so.
ON_GUIDANCE = {
    "RescaleCFG": CoreNode("model_advanced", "RescaleCFG", {"multiplier": 0.7}),
    "APG": CoreNode("apg", "APG", {"eta": 0.5, "norm_threshold": 3.0, "momentum": -0.5}),
    "TCFG": CoreNode("tcfg", "TCFG"),
    "CFGZeroStar": CoreNode("cfg", "CFGZeroStar"),
    "CFGNorm": CoreNode("cfg", "CFGNorm", {"strength": 1.0}),
    "EpsilonScaling": CoreNode("eps", "EpsilonScaling", {"scaling_factor": 1.1}),
    "TemporalScoreRescaling": CoreNode("eps", "TemporalScoreRescaling", {"tsr_k": 0.8, "tsr_sigma": 1.0}, pictures=1),
    "FreSca": CoreNode("fresca", "FreSca", {"scale_low": 1.0, "scale_high": 1.5, "freq_cutoff": 2}),
    "RenormCFG": CoreNode("lumina2", "RenormCFG", {"cfg_trunc": 100.0, "renorm_cfg": 0.9}, pictures=1),
    "Mahiro": CoreNode("mahiro", "Mahiro"),
    "PerturbedAttentionGuidance": CoreNode("pag", "PerturbedAttentionGuidance", {"scale": 3.0}, asks=True),
    "SelfAttentionGuidance": CoreNode("sag", "SelfAttentionGuidance", {"scale": 0.8, "blur_sigma": 2.0}, asks=True),
    "SkipLayerGuidanceDiT": CoreNode("slg", "SkipLayerGuidanceDiT", {**_SKIPPED, "scale": 3.0}, "SD3", asks=True),
    "SkipLayerGuidanceSD3": CoreNode(
        "sd3", "SkipLayerGuidanceSD3", {**_LAYERS, "layers": "0", "scale": 3.0}, "SD3", asks=True
    ),
    "VideoLinearCFGGuidance": CoreNode("video_model", "VideoLinearCFGGuidance", {"min_cfg": 1.0}),
    "VideoTriangleCFGGuidance": CoreNode("video_model", "VideoTriangleCFGGuidance", {"min_cfg": 1.0}),
}

"""Small random networks of the published layouts: their files, and the bare networks for an oracle.

`core` is the package mcdm_core, which inside ComfyUI is a part of the pack.
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

SIZE = 8
CLASSES = 10
EMBEDDING = 32  # 512 in the published file


@dataclass(frozen=True)
class Layout:
    """A small network of a published layout.

    Attributes:
        network: Fields of `UNetConfig` beside those that all layouts have.
        schedule: The schedule.
        text: Whether it has GLIDE's text transformer.
    """

    network: dict[str, Any] = field(default_factory=dict)
    schedule: str = "linear"
    text: bool = False


_NARROW = {"model_channels": 32, "channel_mult": (1, 2, 2), "num_head_channels": 32}
_FRACTIONAL = {"model_channels": 64, "channel_mult": (0.5, 1, 1, 2), "num_head_channels": 16}
_UPSAMPLER = {"model_channels": 32, "channel_mult": (1, 1, 2), "num_head_channels": 16, "low_res_channels": 3}

LAYOUTS = {
    "class": Layout(
        {**_NARROW, "channel_mult": (1, 2, 3), "num_classes": CLASSES, "new_attention_order": True}, "cosine"
    ),
    "class_fractional": Layout({**_FRACTIONAL, "num_classes": CLASSES}),
    "class_upsampler": Layout({**_UPSAMPLER, "num_head_channels": None, "num_heads": 4, "num_classes": CLASSES}),
    "glide": Layout({**_NARROW, "num_head_channels": 16}, "squaredcos_cap_v2", text=True),
    "glide_upsample": Layout(_UPSAMPLER, text=True),
    "glide_inpaint": Layout({**_FRACTIONAL, "map_channels": 4}, "squaredcos_cap_v2", text=True),
    "glide_upsample_inpaint": Layout({**_UPSAMPLER, "map_channels": 4}, text=True),
    "face": Layout({**_NARROW, "map_channels": 6, "convert_maps": True, "film_dim": EMBEDDING}),
    "sketch": Layout({**_NARROW, "map_channels": 3}),
}


def bare_network(core: ModuleType, name: str) -> tuple[nn.Module, nn.Module | None]:
    """The UNet of a layout and its text transformer, with weights that depend on the name alone."""
    layout = LAYOUTS[name]
    config = core.UNetConfig(
        out_channels=6,
        num_res_blocks=1,
        attention_downsamplings=(2, 4),
        context_dim=32 if layout.text else None,
        **layout.network,
    )
    seed = sum(map(ord, name))
    transformer = None
    if layout.text:
        pooled = 4 * config.model_channels
        text = core.networks.TextTransformerConfig(width=32, layers=2, heads=2, pooled_dim=pooled)
        transformer = _randomized(core.networks.TextTransformer(text), seed + 1)
    return _randomized(core.UNet(config), seed), transformer


def write_file(core: ModuleType, name: str, folder: Path) -> Path:
    """Write the tensors of a layout as they are published: network and text transformer side by side, nothing else."""
    path = folder / f"{name}.pt"
    torch.save(
        {key: value for part in bare_network(core, name) if part for key, value in part.state_dict().items()}, path
    )
    return path


def overrides(core: ModuleType, name: str) -> Any:
    """The settings of a layout that can't be read from its tensors."""
    layout = LAYOUTS[name]
    told = ("num_heads", "num_head_channels", "new_attention_order")
    return core.Overrides(
        schedule=layout.schedule,
        image_size=SIZE,
        text_heads=2 if layout.text else None,
        **{key: layout.network[key] for key in told if key in layout.network},
    )


def random_tensor(name: str, *shape: int) -> Tensor:
    """Uniform in 0…1, seeded by a name."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(map(ord, name))))


def random_noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _randomized(module: nn.Module, seed: int) -> nn.Module:
    """Draw every weight, including those that are zero at the start of training."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            # Outputs as large as noise, under strong guidance, would make the runs chaotic and float32 too coarse.
            scale = 0.5 if name == "out.2.weight" else 1.0
            parameter.copy_(scale * noise / parameter[0].numel() ** 0.5)
        else:
            gain = name.endswith("weight")  # of a norm
            parameter.copy_(gain + 0.1 * noise)
    return module.eval().requires_grad_(False)

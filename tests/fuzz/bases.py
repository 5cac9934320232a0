"""Healthy small experts of every kind, which are then spoiled."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mcdm_core import ExpertMetadata, UNet, UNetConfig, save_expert
from mcdm_core.networks import TextTower, TextTowerConfig, TextTransformer, TextTransformerConfig

SIZE = 16
WORDS = ("red", "blue", "smiling")

_PLAIN = UNetConfig(
    model_channels=16,
    num_res_blocks=1,
    channel_mult=(1, 2),
    attention_downsamplings=(2,),
    norm_groups=4,
    num_heads=2,
)
_TEXT = TextTransformerConfig(vocabulary=50, context_length=6, width=16, layers=1, heads=2, pooled_dim=64)
_TOWER = TextTowerConfig(vocabulary=WORDS, width=16, heads=2, layers=1, dim=8, max_tokens=6, lexicon="plain")

KINDS: dict[str, tuple[dict, dict]] = {
    "none": ({"kind": "none"}, {}),
    "map": ({"kind": "map", "map": "hair", "background": -1.0}, {"map_channels": 1, "patch": 2}),
    "maps": ({"kind": "maps", "maps": ["hair", "skin"]}, {"map_channels": 2}),
    "sketch": ({"kind": "sketch", "map_channels": 3}, {"map_channels": 3, "out_channels": 6}),
    "class": ({"kind": "class", "classes": ["fox", "owl"]}, {"num_classes": 2, "scale_shift_norm": False}),
    "upsampler": ({"kind": "class", "low_res": 4}, {"num_classes": 3, "low_res_channels": 3}),
    "text": ({"kind": "text", "text_encoder": _TOWER.to_dict()}, {"pooled_dim": 8}),
    "tokens": ({"kind": "tokens", "text_transformer": _TEXT.to_dict(), "inpaint": True}, {"context_dim": 16}),
    "face": (
        {"kind": "face", "maps": ["face", "hair"], "map_channels": 6, "embedding": 8, "background": -1.0},
        {"map_channels": 6, "convert_maps": True, "film_dim": 8},
    ),
    "latent": ({"kind": "none"}, {"in_channels": 4, "out_channels": 4}),
}
"""What drives an expert of each kind, and the fields of `UNetConfig` that go with it."""


def write_bases(folder: Path) -> list[Path]:
    """Write an expert of every kind, with random weights; returns the files."""
    torch.manual_seed(0)
    paths = []
    for kind, (condition, fields) in KINDS.items():
        network = replace(_PLAIN, **fields, **({"map_channels": 4} if kind == "tokens" else {}))
        latent = kind == "latent"
        about = ExpertMetadata(
            kind, network, SIZE * (8 if latent else 1), condition, vae="0123456789ab" if latent else None
        )
        text = {"text": lambda: TextTower(_TOWER), "tokens": lambda: TextTransformer(_TEXT)}.get(kind)
        paths.append(folder / f"{kind}.safetensors")
        _save(paths[-1], UNet(network), about, text and text())
    return paths


def _save(path: Path, network: UNet, about: ExpertMetadata, text: torch.nn.Module | None) -> None:
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    if isinstance(text, TextTransformer):  # its tensors lie beside the network's, without a prefix
        save_expert(path, _Tensors({**network.state_dict(), **text.state_dict()}), about)
    else:
        save_expert(path, network, about, text)


class _Tensors(torch.nn.Module):
    """Stands for a module of which only the state is saved."""

    def __init__(self, state: dict[str, torch.Tensor]):
        super().__init__()
        self.state = state

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return self.state


def content_of(path: Path) -> dict:
    """An expert's file as `torch.save` would hold it."""
    with safe_open(path, "pt") as file:
        return {"mcdm": file.metadata()["mcdm"], **load_file(path)}

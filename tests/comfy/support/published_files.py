"""Small random files in the layouts of the published ones, under the names of their downloads."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from mcdm_pack.mcdm_core import ExpertMetadata, UNet, UNetConfig
from mcdm_pack.mcdm_core.networks import ClipTextTower, TextTransformer, TextTransformerConfig
from mcdm_pack.mcdm_core.networks.clip import ClipTextConfig
from safetensors.torch import save_file

FARL = "FaRL-Base-Patch16-LAIONFace20M-ep64.pth"
SMALL, LARGE = 32, 64  # sides in pixels of a picture before and after it is enlarged
EMBEDDING = 32

_TEXT = TextTransformerConfig(context_length=24, width=32, layers=1, heads=2, pooled_dim=128)


class Published(NamedTuple):
    """What differs between the files."""

    network: dict[str, Any]
    condition: dict[str, Any]
    image_size: int = SMALL
    schedule: str = "linear"


def _text(**more: Any) -> dict[str, Any]:
    return {"kind": "tokens", "text_transformer": _TEXT.to_dict(), **more}


FILES = {
    "64x64_diffusion.pt": Published(
        {"num_classes": 1000, "new_attention_order": True}, {"kind": "class"}, schedule="cosine"
    ),
    "256x256_diffusion_uncond.pt": Published({}, {"kind": "none"}),
    "64_256_upsampler.pt": Published(
        {"num_classes": 1000, "low_res_channels": 3}, {"kind": "class", "low_res": SMALL}, LARGE
    ),
    "base.pt": Published({"context_dim": 32}, _text(), schedule="squaredcos_cap_v2"),
    "base_inpaint.pt": Published(
        {"context_dim": 32, "map_channels": 4}, _text(inpaint=True), schedule="squaredcos_cap_v2"
    ),
    "upsample.pt": Published({"context_dim": 32, "low_res_channels": 3}, _text(low_res=SMALL), LARGE),
    "upsample_inpaint.pt": Published(
        {"context_dim": 32, "map_channels": 4, "low_res_channels": 3}, _text(low_res=SMALL, inpaint=True), LARGE
    ),
    "model_latest.pt": Published(
        {"map_channels": 6, "convert_maps": True, "film_dim": EMBEDDING},
        {
            "kind": "face",
            "maps": ["face", "hair"],
            "map_channels": 6,
            "embedding": EMBEDDING,
            "background": -1.0,
        },
    ),
    "model_sketch.pt": Published({"map_channels": 3}, {"kind": "sketch", "map_channels": 3, "background": -1.0}),
}


def write_published(folder: Path, names: list[str] | None = None) -> None:
    """Write files of `FILES`, or FaRL's; all of them by default."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate([*FILES, FARL]):
        if names is None or name in names:
            torch.manual_seed(seed)
            _write_farl(folder / name) if name == FARL else _write_expert(folder / name, FILES[name])


def _write_expert(path: Path, published: Published) -> None:
    network = UNetConfig(
        out_channels=6,
        model_channels=32,
        num_res_blocks=1,
        channel_mult=(1, 2),
        attention_downsamplings=(2,),
        num_head_channels=32,
        **published.network,
    )
    metadata = ExpertMetadata(
        path.stem, network, published.image_size, published.condition, published.schedule, prediction="eps"
    )
    tensors = UNet(network).state_dict()
    if published.condition["kind"] == "tokens":
        transformer = TextTransformer(_TEXT)
        torch.nn.init.normal_(transformer.padding_embedding, std=0.1)
        torch.nn.init.normal_(transformer.positional_embedding, std=0.1)
        tensors |= transformer.state_dict()
    # Files are recognized by their content, not their extension.
    save_file(tensors, path, metadata={"mcdm": metadata.to_json()})


def _write_farl(path: Path) -> None:
    tower = ClipTextTower(ClipTextConfig(width=16, layers=1, heads=1, dim=EMBEDDING))
    torch.save({"state_dict": tower.state_dict()}, path)

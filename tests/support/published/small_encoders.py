"""Encoders of the published experts with small random weights, and their inputs."""

import torch

from mcdm_core.conditions import ClassEncoder, FaceEncoder, GlideEncoder, build_encoder
from mcdm_core.networks import ClipTextTower, TextTransformer, TextTransformerConfig
from mcdm_core.networks.clip import ClipTextConfig

SIZE, SMALL = 32, 8
GLIDE = TextTransformerConfig(width=32, layers=1, heads=2, pooled_dim=24)
FARL = ClipTextConfig(width=32, layers=1, heads=2, dim=16)


def glide(config=GLIDE, **reads) -> GlideEncoder:
    torch.manual_seed(0)
    transformer = TextTransformer(config)
    for embedding in (transformer.positional_embedding, transformer.padding_embedding):
        torch.nn.init.normal_(embedding)
    spec = {"kind": "tokens", "text_transformer": config.to_dict(), **reads}
    return build_encoder(spec, SIZE, 3, transformer.state_dict())


def classes(low_res=None) -> ClassEncoder:
    torch.manual_seed(0)
    spec = {"kind": "class", "low_res": low_res}
    return build_encoder(spec, SIZE, 3, {"label_emb.weight": torch.randn(5, 8, dtype=torch.float16)})


def face(load_text=None, names=("face", "hair")) -> FaceEncoder:
    spec = {"kind": "face", "maps": list(names), "map_channels": 6, "embedding": FARL.dim, "background": -1.0}
    return build_encoder(spec, SIZE, 3, load_text=load_text)


def farl(config=FARL) -> ClipTextTower:
    torch.manual_seed(0)
    return ClipTextTower(config).eval().requires_grad_(False)


def picture(size, rows=1) -> torch.Tensor:
    return torch.rand(rows, size, size, 3, generator=torch.Generator().manual_seed(size))


def box(top, rows=1) -> torch.Tensor:
    mask = torch.zeros(rows, SIZE, SIZE)
    mask[:, top : top + 8, 4:20] = 1
    return mask


def as_values(image) -> torch.Tensor:
    return image.movedim(-1, 1) * 2 - 1

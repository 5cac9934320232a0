"""The small dual encoder behind the text expert (paper §7.3, Eq. 20): pictures and captions in one embedding space.

It stands where FaRL stands in the paper: trained on pairs of its own, it lets an expert that has only ever seen *image*
embeddings be sampled with *text* embeddings.
"""

import json
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from ..conditions.text import TextTower, TextTowerConfig
from ..data.captions import caption
from ..data.faces import ATTRIBUTES, draw_face, render_face
from ..networks.image_encoder import ImageEncoder

log = logging.getLogger(__name__)

NAMES = tuple(ATTRIBUTES)
# The mouth covers a few pixels and is learned last: captions name it more often than anything else.
_FIRST_NAMED = [0.4 if name == "mouth" else 0.6 / (len(NAMES) - 1) for name in NAMES]


@dataclass(frozen=True)
class Pairs:
    """Pictures with the attributes that captions are written from.

    Attributes:
        images: uint8, (N, 3, H, W).
        values: Index of each attribute's value, in the order of `NAMES`, (N, len(NAMES)).
    """

    images: Tensor
    values: np.ndarray

    def describe(self, index: int, rng: np.random.Generator) -> tuple[str, np.ndarray]:
        """A caption of one picture and which attributes it names (boolean, in the order of `NAMES`)."""
        named = rng.random(len(NAMES)) < rng.uniform(0.0, 1.0)
        named[rng.choice(len(NAMES), p=_FIRST_NAMED)] = True
        attributes = {n: ATTRIBUTES[n][v] for n, v in zip(NAMES, self.values[index], strict=True)}
        subset = [n for n, flag in zip(NAMES, named, strict=True) if flag]
        return caption(attributes, rng, subset), named


def draw_pairs(seed: int, count: int) -> Pairs:
    """Draw `count` uniform faces, seeds `seed` and up."""
    with ProcessPoolExecutor() as pool:
        seeds = range(seed, seed + count)
        drawn = list(tqdm(pool.map(_draw_pair, seeds, chunksize=64), total=count, desc="drawing", unit="face"))
    images = torch.from_numpy(np.stack([image for image, _ in drawn])).permute(0, 3, 1, 2).contiguous()
    return Pairs(images, np.stack([values for _, values in drawn]))


def _draw_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    face = draw_face(np.random.default_rng(seed))
    values = [ATTRIBUTES[name].index(face.attributes[name]) for name in NAMES]
    return render_face(face).image, np.array(values)


def matches(values: np.ndarray, named: np.ndarray) -> Tensor:
    """Whether picture j shows everything that caption i names; float, (captions, pictures).

    Args:
        values: Attribute values of the pictures, caption i having been written for picture i, (B, A).
        named: Which attributes each caption names, (B, A).
    """
    equal = values[:, None, :] == values[None, :, :]
    return torch.from_numpy((equal | ~named[:, None, :]).all(axis=2)).float()


def train_dual_encoder(
    folder: Path, steps: int = 3000, batch_size: int = 128, seed: int = 6_000_000, count: int = 12_000
) -> Path:
    """Train both towers with the sigmoid loss of SigLIP (Zhai et al., 2023), whose targets are exact here.

    A caption that names two attributes fits many pictures, and since captions are exact we know which: the loss pulls
    it to all of them, so a text embedding comes to lie at the mean of the pictures it describes.

    Returns:
        The file written: both towers, with their configuration in the header.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pairs = draw_pairs(seed, count)
    text_tower, image_tower = TextTower(TextTowerConfig()), ImageEncoder()
    scale, bias = nn.Parameter(torch.tensor(2.3)), nn.Parameter(torch.tensor(-6.0))
    parameters = [*text_tower.parameters(), *image_tower.parameters(), scale, bias]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps, pct_start=0.1)
    with tqdm(total=steps, desc="dual encoder", unit="step") as bar:
        for step in range(steps):
            index = rng.integers(0, count, batch_size)
            captions, named = zip(*(pairs.describe(i, rng) for i in index), strict=True)
            targets = matches(pairs.values[index], np.stack(named))
            pictures = pairs.images[torch.from_numpy(index)].float() / 127.5 - 1
            with torch.autocast("cpu", torch.bfloat16):
                images = F.normalize(image_tower(pictures).float(), dim=1)
                texts = F.normalize(text_tower.encode(list(captions)).float(), dim=1)
            logits = texts @ images.T * scale.exp() + bias
            loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / batch_size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            bar.update()
            if step % 100 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}")
                log.info("dual encoder step %d loss %.4f", step, loss.item())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "encoder.safetensors"
    state = {f"text_encoder.{k}": v for k, v in text_tower.state_dict().items()}
    state |= {f"image_encoder.{k}": v for k, v in image_tower.state_dict().items()}
    header = {"text_encoder": text_tower.config.to_dict(), "steps": steps, "seed": seed, "faces": count}
    save_file({k: v.contiguous() for k, v in state.items()}, path, {"mcdm_encoder": json.dumps(header)})
    return path


def train_from_config(config_path: Path, runs: Path) -> Path:
    """Train the towers that a TOML file with a `[dual_encoder]` section describes."""
    options = tomli.loads(config_path.read_text(encoding="utf-8"))["dual_encoder"]
    return train_dual_encoder(runs / "encoder", **options)


@torch.no_grad()
def embed_images(tower: ImageEncoder, images: Tensor) -> Tensor:
    """Unit embeddings, (N, dim), of uint8 pictures (N, 3, H, W)."""
    return F.normalize(torch.cat([tower(chunk.float() / 127.5 - 1) for chunk in images.split(256)]), dim=1)


def load_dual_encoder(path: Path) -> tuple[TextTower, ImageEncoder]:
    """Both towers of a file written by `train_dual_encoder`."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["mcdm_encoder"])
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 – safe_open has no iteration
    text_tower, image_tower = TextTower(TextTowerConfig.from_dict(header["text_encoder"])), ImageEncoder()
    for prefix, tower in (("text_encoder.", text_tower), ("image_encoder.", image_tower)):
        tower.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        tower.eval()
    return text_tower, image_tower

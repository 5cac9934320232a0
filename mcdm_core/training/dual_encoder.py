"""The small dual encoder behind the text expert (paper §7.3, Eq. 20): pictures and captions in one embedding space.

It stands where FaRL stands in the paper: trained on pairs of its own, it lets an expert that has only ever seen *image*
embeddings be sampled with *text* embeddings.
"""

import json
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from studies.data.captions import caption
from studies.data.faces import ATTRIBUTES, draw_face, render_face

from ..networks.image_encoder import ImageEncoder
from ..networks.text_tower import TextTower, TextTowerConfig
from ..text.vocabulary import gather_vocabulary
from .config import DualEncoderConfig, load_dual_encoder_config
from .folder import CAPTIONS, IMAGES, list_files, load_pictures, pair_files, split_stems

log = logging.getLogger(__name__)

METADATA_KEY = "mcdm_encoder"
HELD_OUT = 128  # pairs
NAMES = tuple(ATTRIBUTES)
# The mouth covers a few pixels and is learned last: captions name it more often than anything else.
_FIRST_NAMED = [0.4 if name == "mouth" else 0.6 / (len(NAMES) - 1) for name in NAMES]


class CaptionedPictures(Protocol):
    """Anything that yields pairs."""

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """Pictures uint8 (B, 3, H, W), their captions, and which pictures each caption fits: float (B, B)."""
        ...


@dataclass(frozen=True)
class Pairs:
    """Drawn faces with the attributes that captions are written from.

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

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """See `CaptionedPictures`. Captions are exact, so the targets are: a caption fits all that it is true of."""
        index = rng.integers(0, len(self.images), size)
        captions, named = zip(*(self.describe(i, rng) for i in index), strict=True)
        return self.images[torch.from_numpy(index)], list(captions), matches(self.values[index], np.stack(named))


@dataclass(frozen=True)
class FolderPairs:
    """Pictures with one or more captions each.

    Attributes:
        images: uint8, (N, 3, H, W).
        captions: Captions of each picture.
    """

    images: Tensor
    captions: list[list[str]]

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, list[str], Tensor]:
        """See `CaptionedPictures`. A caption fits its own picture, and those that have the same caption."""
        index = rng.choice(len(self.images), min(size, len(self.images)), replace=False)
        texts = [str(rng.choice(self.captions[i])) for i in index]
        targets = torch.tensor([[text in self.captions[j] for j in index] for text in texts]).float()
        return self.images[torch.from_numpy(index)], texts, targets


def read_pairs(folder: Path, size: int) -> tuple[FolderPairs, FolderPairs]:
    """Pairs of a folder, `images/NAME.png` and `captions/NAME.txt` with a caption a line; held-out ones apart.

    Raises:
        ValueError: A file is missing, has no counterpart, or cannot be used.
    """
    pictures = list_files(folder / IMAGES)
    texts = dict(zip(pictures, pair_files(folder, CAPTIONS, list(pictures), frozenset({".txt"})), strict=True))

    def read(stems: list[str]) -> FolderPairs:
        return FolderPairs(load_pictures([pictures[s] for s in stems], size), [_read_captions(texts[s]) for s in stems])

    training, held_out = split_stems(list(pictures), HELD_OUT)
    return read(training), read(held_out)


def _read_captions(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text; save it as UTF-8.") from error
    if not any(lines):
        raise ValueError(f"{path} has no caption; write one, or remove it together with its picture.")
    return [line for line in lines if line]


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


class DualEncoder(nn.Module):
    """Both towers and the sigmoid loss of SigLIP (Zhai et al., 2023) between them.

    A caption that names two attributes fits many pictures. The loss pulls it to all that the targets name, so that a
    text embedding comes to lie at the mean of the pictures it describes.

    Args:
        config: The text tower.
    """

    def __init__(self, config: TextTowerConfig):
        super().__init__()
        self.text, self.image = TextTower(config), ImageEncoder(config.dim)
        self.scale, self.bias = nn.Parameter(torch.tensor(2.3)), nn.Parameter(torch.tensor(-6.0))

    def loss(self, pictures: Tensor, captions: list[str], targets: Tensor) -> Tensor:
        """Loss of one batch, see `CaptionedPictures`; a sum over pictures, averaged over captions."""
        with torch.autocast("cpu", torch.bfloat16):
            images = F.normalize(self.image(pictures.float() / 127.5 - 1).float(), dim=1)
            texts = F.normalize(self.text.encode(captions).float(), dim=1)
        logits = texts @ images.T * self.scale.exp() + self.bias
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(captions)


def train_dual_encoder(
    config: DualEncoderConfig, training: CaptionedPictures, held_out: CaptionedPictures, tower: TextTowerConfig
) -> DualEncoder:
    """Train both towers; the log gets the loss every 100 steps, and the held-out loss every 500."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    model = DualEncoder(tower)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=config.steps, pct_start=0.1)
    for step in tqdm(range(1, config.steps + 1), desc="dual encoder", unit="step"):
        loss = model.loss(*training.batch(config.batch_size, rng))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if step % 100 == 0:
            log.info("dual encoder step %d: loss %.4f", step, loss.item())
        if step % 500 == 0 or step == config.steps:
            log.info("dual encoder step %d: held-out loss %.4f", step, _held_out_loss(model, held_out))
    return model


@torch.no_grad()
def _held_out_loss(model: DualEncoder, pairs: CaptionedPictures) -> float:
    return model.loss(*pairs.batch(HELD_OUT, np.random.default_rng(0))).item()


def train_from_config(config_path: Path, runs: Path) -> Path:
    """Train the towers that a TOML file with a `[dual_encoder]` section describes.

    Returns:
        The file written: both towers, with their configuration in the header.

    Raises:
        ValueError: The configuration is wrong, or the folder's pairs cannot be used.
    """
    from .alignment import align  # which needs this module

    config = load_dual_encoder_config(config_path)
    training: CaptionedPictures
    held_out: CaptionedPictures
    if config.path:
        training, held_out = read_pairs(config_path.parent / config.path, config.image_size)
        words = gather_vocabulary((text for texts in training.captions for text in texts), config.words)
        tower = TextTowerConfig(vocabulary=words, lexicon="plain")
    else:
        training, held_out = draw_pairs(config.seed, config.count), draw_pairs(config.seed + config.count, HELD_OUT)
        tower = TextTowerConfig()
    model = train_dual_encoder(config, training, held_out, tower)
    align(model, training)
    path = runs / config.name / f"{config.name}.safetensors"
    save_dual_encoder(path, model, config)
    return path


def save_dual_encoder(path: Path, model: DualEncoder, config: DualEncoderConfig) -> None:
    """Write both towers; `load_dual_encoder` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"text_encoder.{k}": v.contiguous() for k, v in model.text.state_dict().items()}
    state |= {f"image_encoder.{k}": v.contiguous() for k, v in model.image.state_dict().items()}
    header = {"text_encoder": model.text.config.to_dict(), "training": asdict(config)}
    save_file(state, path, {METADATA_KEY: json.dumps(header)})


@torch.no_grad()
def embed_images(tower: ImageEncoder, images: Tensor) -> Tensor:
    """Embeddings, (N, dim), of uint8 pictures (N, 3, H, W)."""
    return torch.cat([tower(chunk.float() / 127.5 - 1) for chunk in images.split(256)])


def load_dual_encoder(path: Path) -> tuple[TextTower, ImageEncoder]:
    """Both towers of a file written by `save_dual_encoder`.

    Raises:
        ValueError: There is no such file, or it holds something else.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()[METADATA_KEY])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 – safe_open has no iteration
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected a dual encoder at {path}, which cannot be read as one; train one with a [dual_encoder] "
            "configuration."
        ) from error
    config = TextTowerConfig.from_dict(header["text_encoder"])
    text_tower, image_tower = TextTower(config), ImageEncoder(config.dim)
    for prefix, tower in (("text_encoder.", text_tower), ("image_encoder.", image_tower)):
        tower.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        tower.eval()
    return text_tower, image_tower

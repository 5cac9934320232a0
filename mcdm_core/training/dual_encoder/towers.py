"""The small dual encoder behind the text expert (paper §7.3, Eq. 20): pictures and captions in one embedding space.

It plays the part of FaRL in the paper: an expert trained on *image* embeddings only can be sampled with *text*
embeddings.
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from tqdm import tqdm

from ...conditions.reading.images import fit
from ...networks.image_encoder import ImageEncoder
from ...networks.text_tower import TextTower, TextTowerConfig
from ...system.formats import write_tensors
from ...system.writer import make_folder
from ..config import DualEncoderConfig
from ..data.sources import HELD_OUT, CaptionedPictures

log = logging.getLogger(__name__)

METADATA_KEY = "mcdm_encoder"


class DualEncoder(nn.Module):
    """Both towers and the sigmoid loss of SigLIP (Zhai et al., 2023) between them.

    A caption that names two attributes fits many pictures. The loss pulls it towards all of its targets, so a text
    embedding ends at the mean of the pictures it describes.

    Args:
        config: Configuration of the text tower.
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
    rates = one_cycle(optimizer, config.steps)
    for step in tqdm(range(1, config.steps + 1), desc="dual encoder", unit="step"):
        loss = model.loss(*training.contrasts(config.batch_size, rng))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if step % 100 == 0:
            log.info("dual encoder step %d: loss %.4f", step, loss.item())
        if step % 500 == 0 or step == config.steps:
            log.info("dual encoder step %d: held-out loss %.4f", step, _held_out_loss(model, held_out))
    return model


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Learning rates that rise to the optimizer's own over a tenth of the steps, and fall over the others."""
    least = 11  # of which a tenth can be warm-up: at 10, torch divides by 0
    peak = optimizer.param_groups[0]["lr"]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=max(steps, least), pct_start=0.1)


@torch.no_grad()
def _held_out_loss(model: DualEncoder, pairs: CaptionedPictures) -> float:
    return model.loss(*pairs.batch(HELD_OUT, np.random.default_rng(0))).item()


def save_dual_encoder(path: Path, model: DualEncoder, config: DualEncoderConfig) -> None:
    """Write both towers; `load_dual_encoder` reads them."""
    make_folder(path.parent)
    state = {f"text_encoder.{k}": v for k, v in model.text.state_dict().items()}
    state |= {f"image_encoder.{k}": v for k, v in model.image.state_dict().items()}
    header = {"text_encoder": model.text.config.to_dict(), "training": asdict(config)}
    write_tensors(path, state, {METADATA_KEY: json.dumps(header)})


@torch.no_grad()
def embed_images(tower: ImageEncoder, images: Tensor) -> Tensor:
    """Embeddings, (N, dim), of uint8 pictures (N, 3, H, W)."""
    return torch.cat([tower(chunk.float() / 127.5 - 1) for chunk in images.split(256)])


class Towers(NamedTuple):
    """A dual encoder's file.

    Attributes:
        text: Embeds captions, and goes into a text expert's file.
        image: Embeds pictures.
        image_size: Side of its training pictures in pixels.
    """

    text: TextTower
    image: ImageEncoder
    image_size: int

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings, (N, dim), of uint8 pictures (N, 3, H, W), shrunk to the size of the training pictures."""
        if images.shape[-1] > self.image_size:
            shrunk = [fit(chunk.float(), self.image_size, "picture").round().byte() for chunk in images.split(256)]
            images = torch.cat(shrunk)
        return embed_images(self.image, images)


def load_dual_encoder(path: Path) -> Towers:
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
    return Towers(text_tower, image_tower, header.get("training", {}).get("image_size", DualEncoderConfig.image_size))

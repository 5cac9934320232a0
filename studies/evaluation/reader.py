"""Small classifiers that read what a picture shows; none took part in training any expert.

Each is trained on pictures of its own seeds, blurred and noised a little so that it does not mistake a sample's
softness for another class.
"""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from mcdm_core.networks.image_encoder import ImageEncoder
from mcdm_core.system.formats import write_tensors

log = logging.getLogger(__name__)

WIDTH = 16
BATCH = 64


class Reader:
    """A trained classifier.

    Args:
        path: Its weights, as `train_reader` writes them.
        classes: What it tells apart, in the order of its outputs.
    """

    def __init__(self, path: Path, classes: Collection[str]):
        self.classes = tuple(classes)
        self.network = ImageEncoder(len(self.classes), WIDTH)
        self.network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        self.network.eval()

    @torch.no_grad()
    def read(self, images: np.ndarray) -> list[str]:
        """The class of each picture; images uint8, (N, H, W, 3)."""
        pictures = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        choices = torch.cat([self.network(chunk) for chunk in pictures.split(256)]).argmax(dim=1)
        return [self.classes[choice] for choice in choices.tolist()]


def train_reader(path: Path, images: Tensor, labels: Tensor, classes: int, steps: int, seed: int) -> Path:
    """Train a classifier and write its weights in half precision.

    Args:
        path: Where to.
        images: uint8, (N, 3, H, W).
        labels: Class of each, int64, (N,), below `classes`.
        classes: Number of classes.
        steps: Optimizer steps, of 64 pictures each.
        seed: Seed of initialization and batches.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = ImageEncoder(classes, WIDTH)

    def loss() -> Tensor:
        index = torch.from_numpy(rng.integers(0, len(images), BATCH))
        pictures = disturb(images[index].float() / 127.5 - 1, rng)
        return F.cross_entropy(network(pictures), labels[index], label_smoothing=0.05)

    fit(network, loss, steps, path.stem)
    write_tensors(path, {key: value.half() for key, value in network.state_dict().items()}, {})
    return path


def fit(network: nn.Module, loss: Callable[[], Tensor], steps: int, name: str) -> None:
    """Fit a network by AdamW, its rate rising to 2e-3 and falling again.

    Args:
        network: What to fit.
        loss: Loss of a batch, drawn anew at each call.
        steps: Optimizer steps.
        name: Shown with the progress.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=max(steps, 2))
    for step in tqdm(range(steps), desc=name, unit="step"):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        rates.step()
        if step % 250 == 0:
            log.info("%s, step %d: loss %.3f", name, step, value.item())


def disturb(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Mix in a blurred copy, shift by up to two pixels, and add noise of up to 6 % of the range."""
    blurred = F.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    pictures = torch.lerp(pictures, blurred, float(rng.uniform(0, 0.6)))
    pictures = torch.roll(pictures, shifts=tuple(rng.integers(-2, 3, 2).tolist()), dims=(2, 3))
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return pictures + float(rng.uniform(0, 0.12)) * noise

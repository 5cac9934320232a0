"""Small classifiers that read attributes of pictures; none was used in training any expert.

Each is trained on pictures of its own seeds, slightly blurred and noised, so that it does not mistake a sample's
softness for another class.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
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

from ..metrics import shrunk
from ..metrics.features import to_network

log = logging.getLogger(__name__)

WIDTH = 16
BATCH = 64
SIZE = 64  # pixels, of readers of pictures of that size


class Reader:
    """A trained classifier of several attributes.

    Args:
        path: Its weights, as `train_reader` writes them.
        classes: Attribute → the values it tells apart, in the order of its outputs.
        size: Side in pixels of the pictures it was trained on.
    """

    def __init__(self, path: Path, classes: Mapping[str, Collection[str]], size: int = SIZE):
        self.classes = {name: tuple(values) for name, values in classes.items()}
        self.size = size
        self.network = ImageEncoder(sum(map(len, self.classes.values())), WIDTH)
        self.network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        self.network.eval()

    @torch.no_grad()
    def read(self, images: np.ndarray) -> dict[str, list[str]]:
        """The values of each picture; images uint8, (N, H, W, 3), averaged to the reader's size."""
        pictures = to_network(shrunk(images, self.size))
        outputs = torch.cat([self.network(chunk) for chunk in pictures.split(256)])
        logits = outputs.split([len(values) for values in self.classes.values()], dim=1)
        return {
            name: [values[choice] for choice in each.argmax(dim=1).tolist()]
            for (name, values), each in zip(self.classes.items(), logits, strict=True)
        }


def train_reader(
    path: Path,
    images: Tensor,
    labels: Tensor,
    classes: Sequence[int],
    steps: int,
    seed: int,
    batch: int = BATCH,
    start: Path | None = None,
) -> Path:
    """Train a classifier and write its weights in half precision.

    Args:
        path: File to write.
        images: uint8, (N, 3, H, W).
        labels: Index of each attribute's value, int64, (N, attributes).
        classes: Number of values of each attribute.
        steps: Optimizer steps.
        seed: Seed of initialization and batches.
        batch: Pictures per step.
        start: Weights to start from; None for random ones.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = ImageEncoder(sum(classes), WIDTH)
    if start is not None:
        network.load_state_dict({key: value.float() for key, value in load_file(start).items()})

    def loss() -> Tensor:
        index = torch.from_numpy(rng.integers(0, len(images), batch))
        pictures = disturb(images[index].float() / 127.5 - 1, rng)
        logits = network(pictures).split(list(classes), dim=1)
        columns = zip(logits, labels[index].T, strict=True)
        return torch.stack([F.cross_entropy(*column, label_smoothing=0.05) for column in columns]).sum()

    fit(network, loss, steps, path.stem)
    write_tensors(path, {key: value.half() for key, value in network.state_dict().items()}, {})
    return path


def fit(network: nn.Module, loss: Callable[[], Tensor], steps: int, name: str) -> None:
    """Fit a network by AdamW, with a rate that rises to 2e-3 and falls again.

    Args:
        network: The network.
        loss: Returns the loss of a new batch at each call.
        steps: Optimizer steps.
        name: Label of the progress bar.
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

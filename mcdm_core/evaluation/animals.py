"""Reads which animal a picture shows: a small classifier that took no part in training any expert.

It is trained on augmentations of its own seeds, before drawn landscapes that no expert of animals has seen, and on the
drawings that are held out from the experts as well.
"""

import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ..data.animals import ANIMALS, HELD_OUT_DRAWINGS, TRAINING_DRAWINGS, draw_animal, draw_background, stand_before
from ..data.landscapes import draw_landscape, render_landscape
from ..networks.image_encoder import ImageEncoder
from .mouth import disturb

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).with_name("animal_reader.safetensors")
FIRST_SEED = 33_000_000
WIDTH = 16


def draw_labelled(first_seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Animals before landscapes and, every other one, before other scenery.

    Returns:
        uint8 pictures, (count, H, W, 3), and the row of each animal in `ANIMALS`, (count,).
    """
    images, labels = [], []
    for seed in tqdm(range(first_seed, first_seed + count), desc="drawing", unit="picture"):
        rng = np.random.default_rng(seed)
        animal = draw_animal(rng, drawings=TRAINING_DRAWINGS + HELD_OUT_DRAWINGS)
        scenery = draw_background(rng) if seed % 2 else render_landscape(draw_landscape(rng, object_share=0))
        images.append(stand_before(animal, scenery))
        labels.append(ANIMALS.index(animal.name))
    return np.stack(images), np.array(labels)


def train_animal_reader(
    path: Path = WEIGHTS, steps: int = 1500, batch_size: int = 64, count: int = 4000, seed: int = FIRST_SEED
) -> Path:
    """Train the classifier and write it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images, labels = (torch.from_numpy(array) for array in draw_labelled(seed, count))
    images = images.permute(0, 3, 1, 2).contiguous()
    network = ImageEncoder(len(ANIMALS), WIDTH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=max(steps, 2))
    for step in tqdm(range(steps), desc="animal reader", unit="step"):
        index = torch.from_numpy(rng.integers(0, count, batch_size))
        pictures = disturb(images[index].float() / 127.5 - 1, rng)
        loss = F.cross_entropy(network(pictures), labels[index], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if step % 250 == 0:
            log.info("Animal reader, step %d: loss %.3f", step, loss.item())
    save_file({key: value.half().contiguous() for key, value in network.state_dict().items()}, path)
    return path


class AnimalReader:
    """The trained classifier.

    Args:
        path: Its weights.
    """

    def __init__(self, path: Path = WEIGHTS):
        self.network = ImageEncoder(len(ANIMALS), WIDTH)
        self.network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        self.network.eval()

    @torch.no_grad()
    def read(self, images: np.ndarray) -> list[str]:
        """The animal of each picture; images uint8, (N, H, W, 3)."""
        pictures = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        choices = torch.cat([self.network(chunk) for chunk in pictures.split(256)]).argmax(dim=1)
        return [ANIMALS[choice] for choice in choices.tolist()]

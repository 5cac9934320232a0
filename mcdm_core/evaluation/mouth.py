"""Reads the mouth of a face: a small classifier that took no part in training any expert.

It is trained on real renders of its own seeds, blurred and noised a little so that it does not mistake a sample's
softness for another mouth. Its accuracy on held-out renders is its ceiling.
"""

import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from ..data.faces import MOUTHS
from ..networks.image_encoder import ImageEncoder
from ..training.dual_encoder import NAMES, draw_pairs

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).with_name("mouth_reader.safetensors")
FIRST_SEED = 7_000_000
WIDTH = 16


def train_mouth_reader(
    path: Path = WEIGHTS, steps: int = 2500, batch_size: int = 64, count: int = 12_000, seed: int = FIRST_SEED
) -> Path:
    """Train the classifier and write it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pairs = draw_pairs(seed, count)
    labels = torch.from_numpy(pairs.values[:, NAMES.index("mouth")])
    network = ImageEncoder(len(MOUTHS), WIDTH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    with tqdm(total=steps, desc="mouth reader", unit="step") as bar:
        for step in range(steps):
            index = torch.from_numpy(rng.integers(0, count, batch_size))
            pictures = disturb(pairs.images[index].float() / 127.5 - 1, rng)
            loss = F.cross_entropy(network(pictures), labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            bar.update()
            if step % 100 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}")
    save_file({key: value.half().contiguous() for key, value in network.state_dict().items()}, path)
    return path


def disturb(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Mix in a blurred copy, shift by up to two pixels, and add noise of up to 6 % of the range."""
    blurred = F.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    pictures = torch.lerp(pictures, blurred, float(rng.uniform(0, 0.6)))
    pictures = torch.roll(pictures, shifts=tuple(rng.integers(-2, 3, 2).tolist()), dims=(2, 3))
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return pictures + float(rng.uniform(0, 0.12)) * noise


class MouthReader:
    """The trained classifier.

    Args:
        path: Its weights.
    """

    def __init__(self, path: Path = WEIGHTS):
        self.network = ImageEncoder(len(MOUTHS), WIDTH)
        self.network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        self.network.eval()

    @torch.no_grad()
    def read(self, images: np.ndarray) -> list[str]:
        """The mouth of each picture; images uint8, (N, H, W, 3)."""
        pictures = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
        choices = torch.cat([self.network(chunk) for chunk in pictures.split(256)]).argmax(dim=1)
        return [list(MOUTHS)[choice] for choice in choices.tolist()]

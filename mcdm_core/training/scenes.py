"""Training sets of the scene experts: drawn landscapes with captions, and animals with their class.

No caption is stored: each batch words its captions anew.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from ..condition import Condition
from ..conditions.text import TextTower, TextTowerConfig
from ..conditions.vocabulary import gather_vocabulary
from ..data import animals, landscapes
from ..data.landscape_captions import landscape_caption
from .config import DataConfig
from .drawn import draw_set

log = logging.getLogger(__name__)

CLASSES = ("any animal", *animals.ANIMALS)
"""Names of the classes; class 0 is the null class, which condition dropout trains."""

_VALUES = [(name, value) for name, values in landscapes.ATTRIBUTES.items() for value in values]
EMBEDDING_DIM = len(_VALUES)
"""Length of a landscape caption's embedding: one direction for each value of each attribute."""

_TOWER_VERSION = 1
_TOWER_SEED = 8_000_000


@dataclass(frozen=True)
class AnimalSet:
    """Animals in memory.

    Attributes:
        images: uint8, (N, 3, H, W).
        labels: Row of `CLASSES`, int64, (N,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """See `Source`."""
        index = torch.from_numpy(rng.integers(0, len(self.images), size))
        condition = Condition() if modality is None else Condition(labels=self.labels[index])
        return self.images[index].float() / 127.5 - 1, condition


@dataclass(frozen=True)
class LandscapeSet:
    """Landscapes in memory.

    Attributes:
        images: uint8, (N, 3, H, W).
        values: Row of each attribute's value, in the order of `landscapes.ATTRIBUTES`, (N, attributes).
        tower: Embeds their captions, where the modality is text.
    """

    images: Tensor
    values: np.ndarray
    tower: TextTower | None = None

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, modality: str | None, size: int, rng: np.random.Generator) -> tuple[Tensor, Condition]:
        """See `Source`; each caption names a random subset of the attributes."""
        index = rng.integers(0, len(self.images), size)
        x0 = self.images[torch.from_numpy(index)].float() / 127.5 - 1
        if modality is None:
            return x0, Condition()
        assert self.tower is not None
        captions = [landscape_caption(_attributes(self.values[i]), rng) for i in index]
        return x0, Condition(embedding=self.tower.encode(captions))


def draw_animals(config: DataConfig, cache: Path) -> AnimalSet:
    """Draw the configured set on all cores, or read it from `cache`."""
    path = cache / f"animals{animals.DRAWING_VERSION}_{config.seed}_{config.count}.npz"
    arrays = draw_set(path, ("images", "labels"), draw_labelled_animal, range(config.seed, config.seed + config.count))
    return AnimalSet(_channels_first(arrays["images"]), torch.from_numpy(arrays["labels"]))


def draw_landscapes(config: DataConfig, cache: Path, tower: TextTower | None) -> LandscapeSet:
    """Draw the configured set on all cores, or read it from `cache`."""
    path = cache / f"landscapes{landscapes.DRAWING_VERSION}_{config.seed}_{config.count}.npz"
    arrays = draw_set(path, ("images", "values"), draw_valued_landscape, range(config.seed, config.seed + config.count))
    return LandscapeSet(_channels_first(arrays["images"]), arrays["values"], tower)


def draw_labelled_animal(seed: int, size: int = landscapes.IMAGE_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """An animal before scenery, uint8, (size, size, 3), and its row of `CLASSES`."""
    rng = np.random.default_rng(seed)
    animal = animals.draw_animal(rng)
    image = animals.stand_before(animal, animals.draw_background(rng, size))
    return image, np.int64(CLASSES.index(animal.name))


def draw_valued_landscape(seed: int, size: int = landscapes.IMAGE_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A landscape, uint8, (size, size, 3), and the row of each of its values, as in `LandscapeSet`."""
    landscape = landscapes.draw_landscape(np.random.default_rng(seed))
    rows = [values.index(landscape.attributes[name]) for name, values in landscapes.ATTRIBUTES.items()]
    return landscapes.render_landscape(landscape, size), np.array(rows)


def _channels_first(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _attributes(rows: np.ndarray) -> dict[str, str]:
    return {name: values[row] for (name, values), row in zip(landscapes.ATTRIBUTES.items(), rows, strict=True)}


def landscape_tower(cache: Path) -> TextTower:
    """The text tower of landscape captions: trained within a minute or two, or read from `cache`."""
    tower = TextTower(landscape_tower_config())
    path = cache / f"landscape_tower{_TOWER_VERSION}.safetensors"
    if path.exists():
        tower.load_state_dict(load_file(path))
    else:
        train_tower(tower)
        cache.mkdir(parents=True, exist_ok=True)
        save_file(tower.state_dict(), path)
    return tower.eval().requires_grad_(False)


def landscape_tower_config() -> TextTowerConfig:
    """A small tower that knows every word of the captions."""
    rng = np.random.default_rng(_TOWER_SEED)
    words = gather_vocabulary((random_caption(rng)[0] for _ in range(4000)), 200)
    return TextTowerConfig(vocabulary=words, width=64, dim=EMBEDDING_DIM, max_tokens=40, lexicon="plain")


def train_tower(tower: TextTower, steps: int = 800, batch_size: int = 64, seed: int = _TOWER_SEED) -> None:
    """Teach a tower to tell the values that a caption names, one direction each; what it leaves open is zero.

    Landscape captions are exact, and each value stands in the picture or not, so that the expert can be driven by
    what is said rather than by its picture's embedding: nothing has to be learned from pictures.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=2e-3, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=max(steps, 2))
    for step in tqdm(range(steps), desc="landscape captions", unit="step"):
        captions, targets = zip(*(random_caption(rng) for _ in range(batch_size)), strict=True)
        loss = F.mse_loss(tower.encode(captions), torch.from_numpy(np.stack(targets)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if step % 200 == 0 or step == steps - 1:
            log.info("Landscape captions, step %d: squared error %.5f", step, loss.item())


def random_caption(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A caption, and 1 for each value that it names, (EMBEDDING_DIM,)."""
    attributes = {name: str(rng.choice(values)) for name, values in landscapes.ATTRIBUTES.items()}
    names = rng.choice(list(attributes), size=int(rng.integers(1, len(attributes) + 1)), replace=False).tolist()
    named = {(name, attributes[name]) for name in names}
    target = np.array([float(value in named) for value in _VALUES], dtype=np.float32)
    return landscape_caption(attributes, rng, names), target

"""The text tower of landscape captions, trained to tell the values that a caption names."""

import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tqdm import tqdm

from mcdm_core.networks.text_tower import TextTower, TextTowerConfig
from mcdm_core.system.formats import write_tensors
from mcdm_core.system.writer import make_folder
from mcdm_core.text.vocabulary import gather_vocabulary

from ..data.landscape_captions import landscape_caption
from ..data.landscapes import ATTRIBUTES

log = logging.getLogger(__name__)

_VALUES = [(name, value) for name, values in ATTRIBUTES.items() for value in values]
EMBEDDING_DIM = len(_VALUES)
"""Length of a landscape caption's embedding: one direction for each value of each attribute."""

_VERSION = 1
_SEED = 8_000_000


def landscape_tower(cache: Path, given: TextTower | None = None) -> TextTower:
    """The text tower of landscape captions: trained within a minute or two, or read from `cache`.

    One that is given, an expert's own, is kept there, so that a run that began with it goes on with it.
    """
    tower = given or TextTower(landscape_tower_config())
    path = cache / f"landscape_tower{_VERSION}.safetensors"
    if given is None and path.exists():
        tower.load_state_dict(load_file(path))
    else:
        if given is None:
            train_tower(tower)
        make_folder(cache)
        write_tensors(path, tower.state_dict(), {})
    return tower.eval().requires_grad_(False)


def landscape_tower_config() -> TextTowerConfig:
    """A small tower that knows every word of the captions."""
    rng = np.random.default_rng(_SEED)
    words = gather_vocabulary((random_caption(rng)[0] for _ in range(4000)), 200)
    return TextTowerConfig(vocabulary=words, width=64, dim=EMBEDDING_DIM, max_tokens=40, lexicon="plain")


def train_tower(tower: TextTower, steps: int = 800, batch_size: int = 64, seed: int = _SEED) -> None:
    """Train a tower to tell the values that a caption names, one direction each; directions of other values are 0.

    Landscape captions are exact, so the expert can be trained on their embeddings instead of those of pictures, and
    nothing has to be learned from pictures.
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
    attributes = {name: str(rng.choice(values)) for name, values in ATTRIBUTES.items()}
    names = rng.choice(list(attributes), size=int(rng.integers(1, len(attributes) + 1)), replace=False).tolist()
    named = {(name, attributes[name]) for name in names}
    target = np.array([float(value in named) for value in _VALUES], dtype=np.float32)
    return landscape_caption(attributes, rng, names), target

"""Held-out pictures: what experts are told of them, and what samples show of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mcdm_core.conditions.encoder import Encoder
from mcdm_core.expert.condition import Condition

from ..metrics import FeatureNetwork
from .config import DataConfig, Setting

Tile = Image.Image | str

SIZE, LARGE_SIZE = 64, 256  # pixels of drawn pictures, for which there are readers
COMPARED = 2000  # drawings that a Fréchet distance is measured to
COMPARED_FROM = 500_000  # seeds behind the held-out ones


class HeldOut(ABC):
    """Pictures whose conditions are asked for.

    Attributes:
        measures: Groups of measures that these pictures have, in the order of the table's columns.
        read: Those that tell something of the pictures themselves: how well they can be read.
        network: What the table calls the network of `features`.
    """

    measures: tuple[str, ...]
    read: tuple[str, ...]
    network: str

    @abstractmethod
    def __len__(self) -> int:
        """Number of pictures."""

    @property
    @abstractmethod
    def images(self) -> np.ndarray:
        """The pictures, uint8, (N, H, W, 3)."""

    def sources(self, shift: int, indices: Sequence[int]) -> list[int]:
        """The pictures `shift` further on, the last one followed by the first."""
        return [(index + shift) % len(self) for index in indices]

    @abstractmethod
    def encode(self, name: str, encoder: Encoder, sources: Sequence[int]) -> Condition:
        """What an expert is told of the pictures.

        Args:
            name: "hair" or whichever map, "sketch", "text" or "class".
            encoder: The expert's.
            sources: Indices of the pictures.

        Raises:
            ValueError: There is nothing of this name, or the expert isn't driven by it.
        """

    def map_of(self, name: str, sources: Sequence[int]) -> Tensor:
        """Maps, 0…1, (B, H, W).

        Raises:
            ValueError: There are no maps of this name.
        """
        raise ValueError(f"These pictures have no {name} maps; ask for something else.")

    @abstractmethod
    def tile(self, name: str, source: int) -> Tile:
        """What an expert is told of a picture, to be shown."""

    @property
    @abstractmethod
    def features(self) -> FeatureNetwork:
        """The network whose features Fréchet and perceptual distances are taken over."""

    @abstractmethod
    def compared(self) -> np.ndarray:
        """What the Fréchet distance is measured to; uint8, (M, H, W, 3)."""

    @abstractmethod
    def measure(self, group: str, images: np.ndarray, setting: Setting | None) -> dict[str, np.ndarray]:
        """One group of measures, a value a picture.

        Args:
            group: One of `measures`, but "frechet", which is of whole sets.
            images: uint8 samples, (B, H, W, 3): row i was asked for with picture i.
            setting: How they were sampled; None for the pictures themselves.

        Returns:
            Measure → values, (B,); empty where nothing of the kind was asked for.
        """


def asked(setting: Setting | None, name: str, count: int, held_out: HeldOut) -> list[int] | None:
    """For each sample the picture whose condition of this name was asked for; None where none was, or is excluded."""
    if setting is None:
        return list(range(count))
    shifts = [term.shift for term in setting.terms if name in term.condition and term.weight > 0]
    return held_out.sources(shifts[0], range(count)) if shifts else None


def check_drawn(config: DataConfig) -> None:
    """Refuse drawn pictures without a number, and of sizes at which none can read them.

    Raises:
        ValueError: One sentence says what to do.
    """
    if config.count < 1:
        raise ValueError(f"Expected the count of held-out {config.kind} in [data] and found none; add one, 300 say.")
    if config.image_size not in (SIZE, LARGE_SIZE):
        raise ValueError(
            f"Held-out {config.kind} are drawn and read at {SIZE} or {LARGE_SIZE} pixels, not at {config.image_size}; "
            "set image_size in [data] to one of these."
        )


def compared_seeds(config: DataConfig) -> range:
    """Seeds of the drawings that a Fréchet distance is measured to."""
    first = config.seed + COMPARED_FROM
    return range(first, first + COMPARED)


def is_one_picture(setting: Setting | None) -> bool:
    """Whether all conditions come from the sample's own picture, so that it can be compared with that."""
    return setting is None or not any(term.shift for term in setting.terms)


def as_floats(pixels: np.ndarray) -> Tensor:
    """uint8 pictures or maps in 0…1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255

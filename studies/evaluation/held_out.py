"""Interface of held-out pictures: conditions of experts, and measures of samples; and the base of drawn ones."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mcdm_core.conditions.encoder import Encoder
from mcdm_core.expert.condition import Condition

from ..metrics import FeatureNetwork, drawing_features
from .config import DataConfig, Setting

Tile = Image.Image | str

SIZE, LARGE_SIZE = 64, 256  # pixels of drawn pictures, for which there are readers
LEFT = "left"
COMPARED = 2000  # number of reference drawings of a Fréchet distance
COMPARED_FROM = 500_000  # first seed of these, after the first held-out one


class HeldOut(ABC):
    """Pictures whose conditions are requested.

    Attributes:
        measures: Groups of measures that these pictures have, in the order of the table's columns.
        read: Groups that are also measured on the pictures themselves, as their ceiling.
        network: Name of the network of `features` in the table.
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
        """Indices of the pictures `shift` later, the last one being followed by the first."""
        return [(index + shift) % len(self) for index in indices]

    @abstractmethod
    def encode(self, name: str, encoder: Encoder, sources: Sequence[int]) -> Condition:
        """An expert's condition from the pictures.

        Args:
            name: "hair" or any other map, "sketch", "text" or "class".
            encoder: The expert's encoder.
            sources: Indices of the pictures.

        Raises:
            ValueError: There is no condition of this name, or the expert does not read it.
        """

    def map_of(self, name: str, sources: Sequence[int]) -> Tensor:
        """Maps, 0…1, (B, H, W).

        Raises:
            ValueError: There are no maps of this name.
        """
        raise ValueError(f"These pictures have no {name} maps; ask for something else.")

    @abstractmethod
    def tile(self, name: str, source: int) -> Tile:
        """A picture's condition, for display."""

    @property
    @abstractmethod
    def features(self) -> FeatureNetwork:
        """The feature network of Fréchet and perceptual distances."""

    @abstractmethod
    def compared(self) -> np.ndarray:
        """Reference pictures of the Fréchet distance; uint8, (M, H, W, 3)."""

    @abstractmethod
    def measure(self, group: str, images: np.ndarray, setting: Setting | None) -> dict[str, np.ndarray]:
        """One group of measures, with a value per picture.

        Args:
            group: One of `measures` except "frechet", which is of whole sets.
            images: uint8 samples, (B, H, W, 3); sample i has the conditions of picture i.
            setting: How they were sampled; None for the pictures themselves.

        Returns:
            Measure → values, (B,); empty where nothing of the kind was requested.
        """

    def likeness(self, images: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
        """How like another setting's pictures of the same conditions and noise these are.

        Args:
            images: uint8 samples, (B, H, W, 3).
            others: The other setting's, likewise; sample i is compared with its sample i.

        Returns:
            Measure → values, (B,), NaN where there is no other.
        """
        count = min(len(images), len(others))
        found = self._alike(images[:count], others[:count])
        return {
            name: np.pad(values, (0, len(images) - count), constant_values=np.nan) for name, values in found.items()
        }

    def _alike(self, images: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
        """`likeness` of as many: "pixel difference", the root mean square, 0…1."""
        pairs = zip(images, others, strict=True)
        apart = [np.sqrt(np.square((image.astype(np.float32) - other) / 255).mean()) for image, other in pairs]
        return {"pixel difference": np.array(apart, dtype=float)}


class DrawnHeldOut(HeldOut):
    """Drawn pictures, see `HeldOut`.

    Args:
        config: The section [data]: kind, seed, number and size.

    Attributes:
        large_measures: Additional groups of measures for pictures of 256 pixels.

    Raises:
        ValueError: They have no number, or a size that no reader takes; one sentence says what to do.
    """

    large_measures: tuple[str, ...]
    network = "the drawing features"

    def __init__(self, config: DataConfig):
        if config.count < 1:
            raise ValueError(
                f"Expected the count of held-out {config.kind} in [data] and found none; add one, 300 say."
            )
        if config.image_size not in (SIZE, LARGE_SIZE):
            raise ValueError(
                f"Held-out {config.kind} are drawn and read at {SIZE} or {LARGE_SIZE} pixels, not at "
                f"{config.image_size}; set image_size in [data] to one of these."
            )
        self._config, self._size = config, config.image_size
        if self._size == LARGE_SIZE:
            self.measures, self.read = ((*groups, *self.large_measures) for groups in (self.measures, self.read))

    def __len__(self) -> int:
        return self._config.count

    def map_of(self, name: str, sources: Sequence[int]) -> Tensor:
        """See `HeldOut`; "left" is the left half of any picture, a layout for masks."""
        if name != LEFT:
            return super().map_of(name, sources)
        columns = torch.arange(self._size) < self._size // 2
        return columns.float().expand(len(sources), self._size, -1)

    @functools.cached_property
    def features(self) -> FeatureNetwork:
        """The network that was trained to describe drawings."""
        return drawing_features()


def asked(setting: Setting | None, name: str, count: int, held_out: HeldOut) -> list[int] | None:
    """Index of each sample's source picture for the condition `name`; None if it wasn't requested, or is excluded."""
    if setting is None:
        return list(range(count))
    shifts = [term.shift for term in setting.terms if name in term.condition and term.weight > 0]
    return held_out.sources(shifts[0], range(count)) if shifts else None


def compared_seeds(config: DataConfig) -> range:
    """Seeds of the reference drawings of a Fréchet distance."""
    first = config.seed + COMPARED_FROM
    return range(first, first + COMPARED)


def is_one_picture(setting: Setting | None) -> bool:
    """Whether all conditions come from the sample's own picture, so that both can be compared."""
    return setting is None or not any(term.shift for term in setting.terms)


def as_floats(pixels: np.ndarray) -> Tensor:
    """uint8 pictures or maps as floats in 0…1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255

"""Base of the kinds of drawn pictures."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mcdm_core.expert.condition import Condition
from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data.kind import DataKind, PicturesToEncode, Prepared
from mcdm_core.training.data.sources import Conditions, PictureSet, Source

from ..data.drawn_set import Drawings, channels_first
from ..data.landscapes import IMAGE_SIZE
from .mixture import check_mixture
from .sets import check_sets, held_out_of


@dataclass(frozen=True)
class CaptionConditions:
    """Captions of drawn pictures, newly worded for every batch; see `Conditions`.

    Attributes:
        attributes: Attribute → value of each picture.
        write: Describes attributes; it may name some of them and leave the others open.
        tower: Embeds the captions.
    """

    attributes: Sequence[dict[str, str]]
    write: Callable[[dict[str, str], np.random.Generator], str]
    tower: TextTower

    @torch.no_grad()
    def __call__(self, modality: str, rows: np.ndarray, rng: np.random.Generator) -> Condition:
        """Captions of these pictures, embedded by the tower."""
        return Condition(embedding=self.tower.encode([self.write(self.attributes[row], rng) for row in rows]))


@dataclass(frozen=True)
class Conditioning:
    """Conditions of the pictures of a run.

    Attributes:
        conditions: Makes the conditions of a set; returns None where it has no modality.
        text_tower: See `Prepared`.
    """

    conditions: Callable[[DataConfig], Conditions | None]
    text_tower: TextTower | None = None


class DrawnKind(DataKind):
    """Pictures that are drawn from seeds, with conditions that follow from the drawing.

    Attributes:
        modalities: Modalities that its pictures have.
    """

    modalities: tuple[str, ...]

    def check(self, config: TrainingConfig) -> None:
        """Check that the pictures are of a size and of modalities that are drawn."""
        if config.image_size != IMAGE_SIZE:
            raise ValueError(
                f"{self.name.capitalize()} are drawn at {IMAGE_SIZE} pixels, not at {config.image_size}; set "
                "image_size to that."
            )
        self._check_modalities(config.data)
        check_sets(config.data, config.report.held_out)

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[Source]:
        """Draw the sets, with the conditions of each."""
        conditioning = self.conditioning(config, base, cache, tower)
        training, held_out = (
            PictureSet(channels_first(self.drawings(data, IMAGE_SIZE).load(cache)), conditioning.conditions(data))
            for data in (config.data, held_out_of(config.data, config.report.held_out))
        )
        return Prepared(training, held_out, conditioning.text_tower)

    def check_latents(self, config: TrainingConfig) -> None:
        """Check that one modality and one set are asked for."""
        if config.data.sets or len(config.data.modalities) > 1:
            raise ValueError(
                f"A network of latents is trained on {self.name} by one modality and one set, and [data] has the "
                f"modalities {list(config.data.modalities)} and sets for {list(config.data.sets)}; train a network "
                "for each, and unite them."
            )
        self._check_modalities(config.data)

    def prepare_latents(
        self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None
    ) -> Prepared[PicturesToEncode]:
        """Draw the pictures that the VAE encodes, with their conditions."""
        conditioning = self.conditioning(config, base, cache, tower)
        training, held_out = (
            PicturesToEncode(
                {self.name: self.drawings(replace(data, modalities=()), config.image_size)},
                conditioning.conditions(data),
            )
            for data in (config.data, held_out_of(config.data, config.report.held_out))
        )
        return Prepared(training, held_out, conditioning.text_tower)

    @abstractmethod
    def drawings(self, data: DataConfig, size: int) -> Drawings:
        """Drawings of a set, (size, size)."""

    @abstractmethod
    def conditioning(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Conditioning:
        """Conditions of pictures of this kind; arguments as for `prepare`."""

    def check_pictures(self, data: DataConfig) -> None:
        """Refuse all but mixtures, which alone are drawn at any size."""
        check_mixture(data)

    def _check_modalities(self, data: DataConfig) -> None:
        if unknown := [name for name in data.modalities if name not in self.modalities]:
            raise ValueError(
                f"Drawn {self.name} have the modalities {', '.join(self.modalities)} and not {unknown[0]!r}; choose "
                "among them."
            )

    def describe(self, data: DataConfig, count: int) -> str:
        """The entry "data" of the card: how many pictures were drawn, and by which seeds."""
        return f"{count} {self.name}, seed {data.seed}"

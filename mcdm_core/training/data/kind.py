"""Interface of the kinds of data, which check a configuration, prepare its pictures, and describe them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ...networks.text_tower import TextTower, TextTowerConfig
from ..config import DataConfig, DualEncoderConfig, TrainingConfig
from .sources import CaptionedPictures, Conditions, Pictures, Source


@dataclass(frozen=True)
class PicturesToEncode:
    """Pictures that a VAE encodes, and their conditions.

    Attributes:
        parts: Name of a part → its pictures.
        conditions: Conditions of all parts in sequence; None where there are none.
    """

    parts: Mapping[str, Pictures]
    conditions: Conditions | None = None


Data = TypeVar("Data", covariant=True)


@dataclass(frozen=True)
class Prepared(Generic[Data]):
    """The pictures of a run, and, for a text expert, the tower that goes into its file.

    Attributes:
        training: Batches that the network is trained on, or the pictures of which a VAE makes latents.
        held_out: Such ones that it is not trained on.
        text_tower: Text tower of the captions that the network is trained on.
        content: A hash of the pictures and maps, where the configuration doesn't determine them.
    """

    training: Data
    held_out: Data
    text_tower: TextTower | None = None
    content: str = ""


@dataclass(frozen=True)
class PreparedPairs:
    """Pairs that a dual encoder is trained on.

    Attributes:
        source: Pairs it trains on.
        held_out: Pairs it does not train on.
        tower: Configuration of a text tower that knows the captions' words.
    """

    source: CaptionedPictures
    held_out: CaptionedPictures
    tower: TextTowerConfig


class DataKind(ABC):
    """A source of pictures with conditions, named by `kind` of a `[data]` section, see `kinds`.

    Attributes:
        name: Its name in configurations.
        classes: Names of the classes of the modality "class", the null class first; empty where it has none.
        attributes: Attributes that captions written for its pictures can name (`named` of `[data]`); empty where none
            are written.
    """

    name: str
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    @abstractmethod
    def check(self, config: TrainingConfig) -> None:
        """Check the requirements of this kind, before anything is drawn or read; `expert.checks` checks all others.

        Raises:
            ValueError: The configuration violates one; one sentence says what to change.
        """

    @abstractmethod
    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[Source]:
        """Draw or read the pictures.

        Args:
            config: A configuration that passed the checks.
            base: Folder that paths of the configuration are relative to.
            cache: Folder for data that are made once and kept.
            tower: The text tower of the expert that the run continues from.

        Raises:
            ValueError: The data cannot be used.
        """

    @abstractmethod
    def describe(self, data: DataConfig, count: int) -> str:
        """The entry "data" of an expert's card, for `count` training pictures."""

    def prepare_pairs(self, config: DualEncoderConfig, base: Path) -> PreparedPairs:
        """Draw or read pictures with captions.

        Args:
            config: The dual encoder.
            base: Folder that its path is relative to.

        Raises:
            ValueError: The pairs cannot be used, or this kind has none.
        """
        raise ValueError(
            f"Expected pictures with captions and got data of kind {self.name!r}, which have none; name a folder of "
            "pairs as path."
        )

    def check_pictures(self, data: DataConfig) -> None:
        """Check data whose pictures are trained on without conditions, by a VAE or a network of its latents.

        Raises:
            ValueError: It does not fit, or this kind has no such pictures.
        """
        raise self._without_pictures()

    def check_latents(self, config: TrainingConfig) -> None:
        """Check the requirements of this kind for a network of a VAE's latents.

        Raises:
            ValueError: The configuration violates one.
        """
        self.check_pictures(config.data)

    def prepare_latents(
        self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None
    ) -> Prepared[PicturesToEncode]:
        """As `prepare`, for pictures that a VAE encodes first; by default without conditions."""
        return self.prepare_pictures(config.data, config.image_size, config.report.held_out, base)

    def prepare_pictures(self, data: DataConfig, size: int, held_out: int, base: Path) -> Prepared[PicturesToEncode]:
        """Prepare pictures without conditions; a kind that has any overrides this and `check_pictures`.

        Args:
            data: The section.
            size: Side in pixels.
            held_out: Number of pictures of each part that are held out.
            base: Folder that its path is relative to.

        Raises:
            ValueError: The pictures cannot be used, or this kind has none.
        """
        raise self._without_pictures()

    def _without_pictures(self) -> ValueError:
        return ValueError(
            f"A VAE and networks of its latents cannot be trained on data of kind {self.name!r}; choose another kind."
        )

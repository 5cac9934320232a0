"""What a kind of data knows: how to check a configuration, to make its pictures ready, and to describe them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..networks.text_tower import TextTower, TextTowerConfig
from .config import DataConfig, DualEncoderConfig, TrainingConfig
from .pairs import CaptionedPictures
from .sources import Conditions, Pictures, Source


@dataclass(frozen=True)
class Prepared:
    """A run's batches and, for a text expert, the tower that goes into its file.

    Attributes:
        source: Pictures it trains on.
        held_out: Pictures it does not train on.
        text_tower: Embeds captions as the network was trained to read them.
    """

    source: Source
    held_out: Source
    text_tower: TextTower | None = None


@dataclass(frozen=True)
class PicturesToEncode:
    """Pictures that a VAE encodes, and what they are told by.

    Attributes:
        parts: What a part of them is called → its pictures.
        conditions: Of all parts, one after the other; None where there are none.
    """

    parts: Mapping[str, Pictures]
    conditions: Conditions | None = None


@dataclass(frozen=True)
class PreparedPictures:
    """What a VAE and networks of its latents are trained on.

    Attributes:
        training: Pictures that are trained on.
        held_out: The same parts, pictures that are not trained on.
        text_tower: As in `Prepared`.
    """

    training: PicturesToEncode
    held_out: PicturesToEncode
    text_tower: TextTower | None = None


@dataclass(frozen=True)
class PreparedPairs:
    """What a dual encoder is trained on.

    Attributes:
        source: Pairs it trains on.
        held_out: Pairs it does not train on.
        tower: A text tower that knows the captions' words.
    """

    source: CaptionedPictures
    held_out: CaptionedPictures
    tower: TextTowerConfig


class DataKind(ABC):
    """A way to come by pictures with their conditions; `kind` of a `[data]` section names it, see `kinds`.

    Attributes:
        name: What it is called in configurations.
        classes: Names of the classes that the modality "class" tells, the null class first; empty where it has none.
        attributes: What captions written for its pictures can name (`named` of `[data]`); empty where none are written.
    """

    name: str
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    @abstractmethod
    def check(self, config: TrainingConfig) -> None:
        """Check what is particular to this kind, before anything is drawn or read; see `checks` for the rest.

        Raises:
            ValueError: The configuration does not fit it; one sentence says what to change.
        """

    @abstractmethod
    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared:
        """Draw or read the pictures.

        Args:
            config: A configuration that passed the checks.
            base: Folder that paths of the configuration are relative to.
            cache: Folder for what is made once and kept.
            tower: The text tower of the expert that the run goes on from.

        Raises:
            ValueError: The data cannot be used.
        """

    @abstractmethod
    def describe(self, data: DataConfig, count: int) -> str:
        """What an expert's card says of its `count` training pictures."""

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
        """Check what is particular to this kind where a network of a VAE's latents is trained on it.

        Raises:
            ValueError: The configuration does not fit it.
        """
        self.check_pictures(config.data)

    def prepare_latents(
        self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None
    ) -> PreparedPictures:
        """As `prepare`, of pictures that are to be encoded first; here of those without conditions."""
        return self.prepare_pictures(config.data, config.image_size, config.report.held_out_count, base)

    def prepare_pictures(self, data: DataConfig, size: int, held_out: int, base: Path) -> PreparedPictures:
        """Make pictures ready; a kind that has any overrides this and `check_pictures`.

        Args:
            data: The section.
            size: Side in pixels.
            held_out: Pictures of each part that are held out.
            base: Folder that its path is relative to.

        Raises:
            ValueError: The pictures cannot be used, or this kind has none.
        """
        raise self._without_pictures()

    def _without_pictures(self) -> ValueError:
        return ValueError(
            f"A VAE and networks of its latents cannot be trained on data of kind {self.name!r}; choose another kind."
        )

"""Mixtures of drawn pictures as a kind of data: of any size, without conditions."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mcdm_core.networks.text_tower import TextTower
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data.kind import DataKind, PicturesToEncode, Prepared
from mcdm_core.training.data.sources import Pictures, PictureSet, Source

from ..data.drawn_set import Drawings, channels_first
from .animals import AnimalKind
from .drawn_kind import DrawnKind
from .faces import FaceKind
from .landscapes import LandscapeKind
from .mixture import MIXTURE, check_mixture, parts_of
from .sets import held_out_of

_KINDS: dict[str, DrawnKind] = {"faces": FaceKind(), "landscapes": LandscapeKind(), "animals": AnimalKind()}


class MixtureKind(DataKind):
    """Faces, landscapes and animals together, without conditions."""

    name = MIXTURE

    def check(self, config: TrainingConfig) -> None:
        """Check the parts of the mixture."""
        check_mixture(config.data)

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[Source]:
        """Draw the parts, and keep them in memory."""
        pictures = self.prepare_pictures(config.data, config.image_size, config.report.held_out, base)
        return Prepared(_in_memory(pictures.training.parts, cache), _in_memory(pictures.held_out.parts, cache))

    def describe(self, data: DataConfig, count: int) -> str:
        """The entry "data" of the card: that of each part."""
        return "; ".join(_KINDS[kind].describe(part, part.count) for kind, part in parts_of(data).items())

    def check_pictures(self, data: DataConfig) -> None:
        """Check the parts of the mixture."""
        check_mixture(data)

    def prepare_pictures(self, data: DataConfig, size: int, held_out: int, base: Path) -> Prepared[PicturesToEncode]:
        """Draw the parts at this size; pictures are drawn when they are first used."""
        training, beside = (
            PicturesToEncode({kind: drawings_of(part, size) for kind, part in parts_of(each).items()})
            for each in (data, held_out_of(data, held_out))
        )
        return Prepared(training, beside)


def drawings_of(data: DataConfig, size: int) -> Drawings:
    """Drawings of a set of faces, landscapes or animals.

    Args:
        data: A set of one kind; for faces, maps among the modalities are drawn with the pictures.
        size: Side in pixels.
    """
    return _KINDS[data.kind].drawings(data, size)


def _in_memory(sets: Mapping[str, Pictures], cache: Path) -> PictureSet:
    return PictureSet(channels_first(np.concatenate([pictures.load(cache) for pictures in sets.values()])))

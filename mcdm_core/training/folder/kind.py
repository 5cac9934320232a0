"""The user's own folder as a kind of data."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from ...networks.autoencoder import DOWNSCALE
from ...networks.text_tower import TextTower, TextTowerConfig
from ...text.vocabulary import gather_vocabulary
from ..config import DataConfig, DualEncoderConfig, TrainingConfig
from ..data.kind import DataKind, PicturesToEncode, Prepared, PreparedPairs
from ..data.sources import MapConditions, PictureSet
from ..dual_encoder.embeddings import check_text_encoder, load_towers
from .pairs import read_pairs
from .reading import read_folder

_RESERVED = ("images", "captions", "auto")
_CHUNK = 256  # pictures encoded between two updates of the progress bar


class FolderKind(DataKind):
    """Pictures, maps and captions of the user's own folder, whose layout `reading` describes."""

    name = "folder"

    def check(self, config: TrainingConfig) -> None:
        """Refuse classes, modalities that cannot be subfolders, and a text without a dual encoder."""
        data = config.data
        self.check_pictures(data)
        if "class" in data.modalities:
            raise ValueError('A folder has maps, sketches and captions and no "class"; remove it from modalities.')
        if reserved := [name for name in data.modalities if name in _RESERVED or "/" in name]:
            raise ValueError(f"{reserved[0]!r} cannot be the name of a modality; rename its subfolder.")
        check_text_encoder(data)

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[PictureSet]:
        """Read the pictures and their maps; held-out ones are taken out of the folder."""
        data, towers = config.data, load_towers(config, base)
        training, held_out = read_folder(
            base / data.path,
            data.modalities,
            config.image_size,
            config.report.held_out,
            towers and towers.embed,
            data.embedding_noise,
        )
        return Prepared(training, held_out, towers and towers.text, content_of(training, held_out))

    def check_pictures(self, data: DataConfig) -> None:
        """Refuse a section without a path, or with sets of drawn pictures; conditions are ignored."""
        if not data.path:
            raise ValueError('Expected the folder\'s path in [data] and found none; add path = "…".')
        if data.sets:
            raise ValueError("A folder has the same pictures for each modality; remove [data.sets].")

    def prepare_pictures(self, data: DataConfig, size: int, held_out: int, base: Path) -> Prepared[PicturesToEncode]:
        """Read the pictures without conditions; held-out ones are taken out of the folder."""
        training, beside = read_folder(base / data.path, (), size, held_out)
        return Prepared(_to_encode(training), _to_encode(beside), content=content_of(training, beside))

    def check_latents(self, config: TrainingConfig) -> None:
        """Refuse what `check` refuses."""
        self.check(config)

    def prepare_latents(
        self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None
    ) -> Prepared[PicturesToEncode]:
        """Read the pictures and their maps, which keep the size of the pictures and are folded."""
        read = self.prepare(config, base, cache, tower)
        return Prepared(_to_encode(read.training), _to_encode(read.held_out), read.text_tower, read.content)

    def describe(self, data: DataConfig, count: int) -> str:
        """The number of pictures and the name of the folder."""
        return f"{count} pictures of the folder {Path(data.path).name!r}"

    def prepare_pairs(self, config: DualEncoderConfig, base: Path) -> PreparedPairs:
        """Read pictures and captions; the vocabulary is that of the training captions."""
        training, held_out = read_pairs(base / config.path, config.image_size)
        different = len({text for texts in training.captions for text in texts})
        if len(training.captions) < 2 or different < 2:
            raise ValueError(
                f"Expected two pictures and captions that differ, or more, to learn what tells them apart and got "
                f"{len(training.captions)} of {different} in {base / config.path}; add others."
            )
        words = gather_vocabulary((text for texts in training.captions for text in texts), config.words)
        return PreparedPairs(training, held_out, TextTowerConfig(vocabulary=words, lexicon="plain"))


@dataclass(frozen=True)
class FolderPictures:
    """Pictures of a folder, all in memory.

    Attributes:
        images: uint8, (N, H, W, 3).
    """

    images: np.ndarray

    @cached_property
    def name(self) -> str:
        """Identifies the pictures by a hash, which changes whenever one of them does."""
        return f"folder_{len(self)}_{self.images.shape[1]}_{hashlib.sha256(self.images.data).hexdigest()[:12]}"

    def __len__(self) -> int:
        return len(self.images)

    def load(self, cache: Path) -> np.ndarray:
        """The pictures, uint8, (N, H, W, 3); `cache` is not needed."""
        return self.images

    def chunks(self) -> Iterator[np.ndarray]:
        """The pictures in chunks (n, H, W, 3)."""
        for first in range(0, len(self), _CHUNK):
            yield self.images[first : first + _CHUNK]


def content_of(*parts: PictureSet) -> str:
    """A hash of pictures and their maps, which changes whenever one of them does, or its part."""
    digest = hashlib.sha256()
    for part in parts:
        maps = part.conditions.maps.values() if isinstance(part.conditions, MapConditions) else ()
        for values in (part.images, *maps):
            digest.update(f"{tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()


def _to_encode(pictures: PictureSet) -> PicturesToEncode:
    """Pictures for a VAE, with their conditions; maps are folded."""
    images = np.ascontiguousarray(pictures.images.permute(0, 2, 3, 1).numpy())
    conditions = pictures.conditions
    if isinstance(conditions, MapConditions):
        conditions = MapConditions({name: F.pixel_unshuffle(maps, DOWNSCALE) for name, maps in conditions.maps.items()})
    return PicturesToEncode({FolderKind.name: FolderPictures(images)}, conditions)

"""A folder of the user's pictures as held-out ones."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mcdm_core.conditions.encoder import Encoder
from mcdm_core.conditions.reading.sketch import SketchSource
from mcdm_core.expert.condition import Condition
from mcdm_core.training.folder.reading import (
    CAPTIONS,
    IMAGES,
    SKETCH,
    list_files,
    load_file,
    load_pictures,
    pair_files,
    read_map_file,
)

from ..metrics import FeatureNetwork, resnet_features
from .config import DataConfig, Setting
from .held_out import HeldOut, Tile, as_floats, asked, is_one_picture
from .similarity import measure_edges, measure_similarity

_TEXTS = frozenset({".txt"})


class Folder(HeldOut):
    """Pictures of a folder of the same layout as for training, see `mcdm_core.training.folder.reading`."""

    read = ()

    def __init__(self, config: DataConfig):
        if not config.path:
            raise ValueError('Expected the folder\'s path in [data] and found none; add path = "…".')
        self._folder, self._size, self._features = Path(config.path), config.image_size, config.features
        files = list_files(self._folder / IMAGES)
        self._all_stems = list(files)
        self._pictures = list(files.values())[: config.count or None]
        with_features = ("frechet",) if config.features else ()
        self.measures = ("similarity", "edges", *with_features)
        self.network = Path(config.features).name

    def __len__(self) -> int:
        return len(self._pictures)

    @functools.cached_property
    def images(self) -> np.ndarray:
        """The pictures, uint8, (N, H, W, 3)."""
        return load_pictures(self._pictures, self._size).permute(0, 2, 3, 1).contiguous().numpy()

    def encode(self, name: str, encoder: Encoder, sources: Sequence[int]) -> Condition:
        """An expert's condition from the files beside the pictures."""
        if name == "text":
            return encoder.encode_text([self._caption(i) for i in sources])
        if name == SKETCH and not (self._folder / SKETCH).is_dir():
            return encoder.encode_sketch(as_floats(self.images[list(sources)]))
        if name == SKETCH:
            return encoder.encode_sketch(self.map_of(name, sources), SketchSource.LIGHT_ON_DARK)
        return encoder.encode_map(self.map_of(name, sources), name)

    def map_of(self, name: str, sources: Sequence[int]) -> Tensor:
        """The maps of the folder, 0…1, (B, H, W)."""
        paths = self._files(name)
        maps = [read_map_file(paths[i], name, self._size, load_file(self._pictures[i])) for i in sources]
        return as_floats(torch.stack(maps).numpy())

    def tile(self, name: str, source: int) -> Tile:
        """A picture's condition, for display."""
        if name == "text":
            return self._caption(source)
        if name == SKETCH and not (self._folder / SKETCH).is_dir():
            return Image.fromarray(self.images[source])
        return Image.fromarray((self.map_of(name, [source])[0] * 255).byte().numpy())

    @functools.cached_property
    def features(self) -> FeatureNetwork:
        """The ResNet in the configured file."""
        return resnet_features(self._features)

    def compared(self) -> np.ndarray:
        """The pictures themselves."""
        return self.images

    def measure(self, group: str, images: np.ndarray, setting: Setting | None) -> dict[str, np.ndarray]:
        """One group of measures, with a value per picture."""
        if group == "edges":
            sources = asked(setting, SKETCH, len(images), self)
            return {} if sources is None else measure_edges(images, self.images[sources])
        if not is_one_picture(setting):
            return {}
        network = self.features if self._features else None
        return measure_similarity(images, self.images[: len(images)], network)

    def _caption(self, index: int) -> str:
        text = self._files(CAPTIONS, _TEXTS)[index].read_text(encoding="utf-8").strip()
        return text.splitlines()[0] if text else ""

    def _files(self, name: str, suffixes: frozenset[str] | None = None) -> list[Path]:
        chosen = {} if suffixes is None else {"suffixes": suffixes}
        return pair_files(self._folder, name, self._all_stems, **chosen)

"""Drawn faces, with their maps, sketches and captions as conditions."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcdm_core.conditions.reading.sketch import edges
from mcdm_core.networks.autoencoder import DOWNSCALE
from mcdm_core.networks.text_tower import TextTower, TextTowerConfig
from mcdm_core.training.config import DataConfig, DualEncoderConfig, TrainingConfig
from mcdm_core.training.data.kind import Prepared, PreparedPairs
from mcdm_core.training.data.sources import HELD_OUT, Conditions, EmbeddingConditions, MapConditions, PictureSet, Source
from mcdm_core.training.dual_encoder.embeddings import check_text_encoder, load_towers

from ..data.captions import ATTRIBUTE_NAMES, caption
from ..data.drawn_set import Drawings, channels_first, size_suffix
from ..data.faces import DRAWING_VERSION, IMAGE_SIZE, MAPS, Frequencies, draw_face, render_face
from .drawn_kind import CaptionConditions, Conditioning, DrawnKind
from .face_pairs import draw_pairs
from .sets import PictureSets, held_out_of, set_of


class FaceKind(DrawnKind):
    """Drawn faces with captions, maps and edges."""

    name = "faces"
    modalities = ("hair", "skin", "sketch", "text")
    attributes = ATTRIBUTE_NAMES

    def check(self, config: TrainingConfig) -> None:
        """Check the size and modalities of drawings, and that captions and embeddings have what they need."""
        super().check(config)
        check_text_encoder(config.data)

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[Source]:
        """Draw the faces, with the conditions of each modality."""
        towers = load_towers(config, base)
        sets = config.data, held_out_of(config.data, config.report.held_out)
        training, held_out = (draw_faces(data, cache, towers and towers.embed) for data in sets)
        return Prepared(training, held_out, towers and towers.text)

    def check_latents(self, config: TrainingConfig) -> None:
        """Check one modality and one set, and that captions and embeddings have what they need."""
        super().check_latents(config)
        check_text_encoder(config.data)

    def drawings(self, data: DataConfig, size: int) -> Drawings:
        """The faces of a set; the maps among the modalities are drawn with the pictures."""
        return face_drawings(data, size)

    def conditioning(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Conditioning:
        """Captions, folded maps, or embeddings of pictures of the size that their encoder was trained on."""
        towers = load_towers(config, base)
        if config.data.named:
            assert towers is not None
            return Conditioning(partial(caption_conditions, tower=towers.text), towers.text)
        embed = towers and towers.embed
        return Conditioning(partial(_latent_conditions, config.image_size, cache, embed), towers and towers.text)

    def describe(self, data: DataConfig, count: int) -> str:
        """The entry "data" of the card, with the values that lead, or that of each modality's own set."""
        if data.sets:
            own = {name: set_of(data, name) for name in data.trained or data.modalities}
            return "; ".join(f"{name}: {self.describe(each, each.count)}" for name, each in own.items())
        share = "" if data.share == Frequencies.share else f" ({data.share:g} of them)"
        named = f", captions of {', '.join(data.named)}" if data.named else ""
        return f"{super().describe(data, count)}, leading {data.leading}{share}{named}"

    def prepare_pairs(self, config: DualEncoderConfig, base: Path) -> PreparedPairs:
        """Draw faces with captions; held-out faces have the next seeds."""
        training, held_out = draw_pairs(config.seed, config.count), draw_pairs(config.seed + config.count, HELD_OUT)
        return PreparedPairs(training, held_out, TextTowerConfig())


def draw_faces(config: DataConfig, cache: Path, embed: Callable[[Tensor], Tensor] | None = None) -> Source:
    """Draw the configured set on all cores, or read it from `cache`.

    Args:
        config: What to draw.
        cache: Folder for the drawn sets.
        embed: Image tower for the text modality: uint8 (N, 3, H, W) → (N, D).
    """
    if config.sets:
        return PictureSets({name: _draw_faces(set_of(config, name), cache, None) for name in config.modalities})
    return _draw_faces(config, cache, embed)


def _draw_faces(config: DataConfig, cache: Path, embed: Callable[[Tensor], Tensor] | None) -> PictureSet:
    arrays = face_drawings(config).draw(cache)
    images = channels_first(arrays["images"])
    if embed is not None:
        return PictureSet(images, EmbeddingConditions(embed(images), config.embedding_noise))
    maps = {name: arrays[name] for name in config.modalities if name in arrays}
    if "sketch" in config.modalities:
        maps["sketch"] = np.stack([_sketch_of(image) for image in arrays["images"]])
    in_order = {name: torch.from_numpy(maps[name])[:, None] for name in config.modalities}
    return PictureSet(images, MapConditions(in_order))


def caption_conditions(data: DataConfig, tower: TextTower) -> CaptionConditions:
    """Captions of the faces of a set, which name the configured attributes and leave the others open."""
    drawn = (draw_face(np.random.default_rng(seed), frequencies) for seed, frequencies, _ in face_drawings(data).jobs)
    return CaptionConditions([face.attributes for face in drawn], partial(caption, names=data.named), tower)


def _latent_conditions(
    size: int, cache: Path, embed: Callable[[Tensor], Tensor] | None, data: DataConfig
) -> Conditions | None:
    """Conditions of the faces of a set that are drawn at `size` pixels and encoded by a VAE."""
    if not data.modalities:
        return None
    if embed is not None:
        images = channels_first(face_drawings(replace(data, modalities=())).draw(cache)["images"])
        return EmbeddingConditions(embed(images), data.embedding_noise)
    (name,) = data.modalities
    faces = face_drawings(data, size)
    # The maps are drawn without the pictures.
    drawings = Drawings(f"{faces.name}_{name}", ("maps",), partial(_draw_map, name=name, size=size), faces.jobs)
    maps = torch.from_numpy(drawings.draw(cache)["maps"])
    return MapConditions({name: F.pixel_unshuffle(maps[:, None], DOWNSCALE)})


def _sketch_of(image: np.ndarray) -> np.ndarray:
    """The edges of a picture as a sketch, uint8, (H, W)."""
    return 255 * edges(image).astype(np.uint8)


def face_drawings(data: DataConfig, size: int = IMAGE_SIZE) -> Drawings:
    """Drawings of a set of faces: pictures, and the maps among the modalities, each uint8, (size, size)."""
    maps = tuple(m for m in data.modalities if m in MAPS)
    leading = "_".join(f"{k}-{v}" for k, v in sorted(data.leading.items())) or "uniform"
    if data.share != Frequencies.share:
        leading += f"_{data.share:g}"
    name = f"faces{DRAWING_VERSION}_{data.seed}_{data.count}_{'-'.join(maps) or 'plain'}_{leading}"
    frequencies = Frequencies(data.leading, data.share)
    jobs = [(seed, frequencies, maps) for seed in range(data.seed, data.seed + data.count)]
    draw_one = partial(_draw_face, size=size)
    return Drawings(name + size_suffix(size, IMAGE_SIZE), ("images", *maps), draw_one, jobs)


def _draw_face(job: tuple[int, Frequencies, tuple[str, ...]], size: int) -> tuple[np.ndarray, ...]:
    seed, frequencies, maps = job
    face = draw_face(np.random.default_rng(seed), frequencies)
    rendering = render_face(face, maps, size)
    return (rendering.image, *(rendering.maps[name] for name in maps))


def _draw_map(job: tuple[int, Frequencies, tuple[str, ...]], name: str, size: int) -> tuple[np.ndarray]:
    image, *maps = _draw_face(job, size)
    return (_sketch_of(image) if name == "sketch" else maps[0],)

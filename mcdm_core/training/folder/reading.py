"""Training data from the user's own folder.

    FOLDER/images/anna.png    the pictures
    FOLDER/hair/anna.png      a map of each, white where the part is; the subfolder's name is the modality's
    FOLDER/sketch/anna.png    light lines on black; without this subfolder, the edges of the pictures
    FOLDER/captions/anna.txt  one caption a line, for the dual encoder

Files belong together by their stem. Pictures and what belongs to them are cut to their middle square and resized.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...conditions.reading.images import fit
from ...conditions.reading.maps import read_gray
from ...conditions.reading.sketch import SketchSource, edges, read_sketch
from ...pictures.files import Background, load_picture
from ..data.sources import EmbeddingConditions, MapConditions, PictureSet

log = logging.getLogger(__name__)

IMAGES, CAPTIONS, SKETCH = "images", "captions", "sketch"
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"})
_ASPECT_TOLERANCE = 0.02  # a picture shrunk to a few pixels may gain or lose half of one


def list_files(folder: Path, suffixes: frozenset[str] = PICTURE_SUFFIXES) -> dict[str, Path]:
    """Files of a folder by stem, sorted; hidden files are left out, and those of other suffixes, which are named.

    Raises:
        ValueError: There is no such folder, no file in it, or two files have the same stem.
    """
    if not folder.is_dir():
        raise ValueError(f"Expected a folder {folder} and there is none; create it, or correct the path or the name.")
    files: dict[str, Path] = {}
    others = []
    for path in sorted(each for each in folder.iterdir() if not each.name.startswith(".")):
        if path.suffix.lower() not in suffixes:
            others.append(path.name)
            continue
        if path.stem in files:
            raise ValueError(f"{files[path.stem]} and {path.name} share a name; rename or remove one of them.")
        files[path.stem] = path
    if not files:
        raise ValueError(f"Expected files ({', '.join(sorted(suffixes))}) in {folder} and found none; put some there.")
    if others:
        log.warning("%s: %d of other kinds are left out (%s).", folder, len(others), _listed(others))
    return files


def pair_files(folder: Path, name: str, stems: list[str], suffixes: frozenset[str] = PICTURE_SUFFIXES) -> list[Path]:
    """The file of each picture in the subfolder `name`, in the order of `stems`.

    Raises:
        ValueError: A picture has no file there, or a file has no picture.
    """
    files = list_files(folder / name, suffixes)
    if missing := [stem for stem in stems if stem not in files]:
        raise ValueError(
            f"Expected a file in {folder / name} for each picture, but {len(missing)} of {len(stems)} have none "
            f"({_listed(missing)}); add them, or remove these pictures."
        )
    known = set(stems)
    if strangers := [stem for stem in files if stem not in known]:
        raise ValueError(
            f"{len(strangers)} files in {folder / name} have no picture of the same name in {IMAGES} "
            f"({_listed(strangers)}); add the pictures, or remove these files."
        )
    return [files[stem] for stem in stems]


def split_stems(stems: list[str], held_out: int) -> tuple[list[str], list[str]]:
    """Split into training stems and held-out ones; at least one and at most a tenth of all are held out.

    They are chosen by a hash of the name, so that adding a picture hardly changes the split of the others.

    Raises:
        ValueError: There are fewer than two pictures.
    """
    if len(stems) < 2:
        raise ValueError(f"Expected at least two pictures, of which one is held out, and found {len(stems)}; add more.")
    count = max(1, min(held_out, len(stems) // 10))
    by_hash = sorted(stems, key=lambda stem: hashlib.sha256(stem.encode()).digest())
    chosen = set(by_hash[:count])
    return [s for s in stems if s not in chosen], [s for s in stems if s in chosen]


def read_folder(
    folder: Path,
    modalities: tuple[str, ...],
    size: int,
    held_out: int,
    embed: Callable[[Tensor], Tensor] | None = None,
    embedding_noise: float = 0.0,
) -> tuple[PictureSet, PictureSet]:
    """Read pictures and their maps into memory, 3·size² bytes per picture and size² per map.

    Args:
        folder: Holds `images` and a subfolder per map.
        modalities: Modalities to train on; "text" needs only pictures, whose embeddings replace those of captions.
        size: Side in pixels to which everything is resized.
        held_out: Pictures to hold out, see `split_stems`.
        embed: Image tower for the text modality: uint8 (N, 3, H, W) → (N, D).
        embedding_noise: See `DataConfig`.

    Returns:
        Training pictures and held-out ones.

    Raises:
        ValueError: A file is missing, has no counterpart, shows another frame than its picture, or cannot be read.
    """
    pictures = list_files(folder / IMAGES)
    stems = list(pictures)
    names = [name for name in modalities if name != "text"]
    from_edges = SKETCH in names and not (folder / SKETCH).is_dir()
    files = {n: pair_files(folder, n, stems) for n in names if not (n == SKETCH and from_edges)}
    parts = split_stems(stems, held_out)

    index = {stem: row for row, stem in enumerate(stems)}
    images = torch.empty(len(stems), 3, size, size, dtype=torch.uint8)
    maps = {name: torch.empty(len(stems), size, size, dtype=torch.uint8) for name in names}
    for row, path in enumerate(tqdm(pictures.values(), desc="reading", unit="picture")):
        picture = load_file(path)
        images[row] = read_picture(picture, size)
        for name, paths in files.items():
            maps[name][row] = read_map_file(paths[row], name, size, picture)
    if from_edges:
        sketches = [edges(image) for image in images.permute(0, 2, 3, 1).numpy()]
        maps[SKETCH] = torch.from_numpy(np.stack(sketches)) * 255

    def part(chosen: list[str]) -> PictureSet:
        rows = torch.tensor([index[stem] for stem in chosen])
        if embed is not None:
            return PictureSet(images[rows], EmbeddingConditions(embed(images[rows]), embedding_noise))
        return PictureSet(images[rows], MapConditions({n: m[rows, None] for n, m in maps.items()}))

    return part(parts[0]), part(parts[1])


def read_picture(picture: Tensor, size: int) -> Tensor:
    """uint8 (3, size, size) of a picture (1, H, W, 3) in 0…1."""
    return _bytes(fit(_middle_square(picture).movedim(-1, 1), size, "picture"))[0]


def load_pictures(paths: list[Path], size: int) -> Tensor:
    """uint8 (N, 3, size, size) of picture files."""
    return torch.stack([read_picture(load_file(path), size) for path in tqdm(paths, desc="reading", unit="picture")])


def read_map_file(path: Path, name: str, size: int, picture: Tensor) -> Tensor:
    """uint8 (size, size) of a map's file.

    Args:
        path: The file.
        name: Kind of map; "sketch" is light lines on black.
        size: Side in pixels to which it is resized.
        picture: The picture that it belongs to, (1, H, W, 3), of the same frame.

    Raises:
        ValueError: It shows another frame, or cannot be a map.
    """
    image = load_file(path, "black")
    (height, width), (true_height, true_width) = image.shape[1:3], picture.shape[1:3]
    if abs(width * true_height / (height * true_width) - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"{path} is {width} × {height} pixels and its picture {true_width} × {true_height}; it has to show the "
            "same frame, so cut it as the picture was cut."
        )
    try:
        if name == SKETCH:
            return _bytes(read_sketch(_middle_square(image), size, SketchSource.LIGHT_ON_DARK))[0, 0]
        return _bytes(fit(read_gray(_middle_square(image), name), size, name))[0, 0]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def load_file(path: Path, background: Background = "white") -> Tensor:
    """A picture of a folder, or a map on black, (1, H, W, 3) in 0…1; see `load_picture`.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return load_picture(path, background)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as a picture ({error}); replace or remove it.") from error


def _middle_square(image: Tensor) -> Tensor:
    """Middle square of (B, H, W, C)."""
    height, width = image.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


def _bytes(values: Tensor) -> Tensor:
    return (values * 255).round().to(torch.uint8)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

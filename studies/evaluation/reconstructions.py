"""Loss of a VAE on held-out drawings: measures of the drawings beside those of their reconstructions."""

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mcdm_core.checkpoints.autoencoders import load_autoencoder
from mcdm_core.cli.values import positive
from mcdm_core.networks.autoencoder import Autoencoder
from mcdm_core.system.formats import write_text
from mcdm_core.system.writer import check_file, make_folder
from mcdm_core.training.autoencoder.report import peak_signal_to_noise, reconstruct
from mcdm_core.training.config import DataConfig

from ..data.face_parser import parse_face
from ..data.faces import MAPS
from ..data.landscapes import ATTRIBUTES
from ..metrics import right_answers
from ..training.mixture_kind import drawings_of
from .faces import measure_cleanness, measure_maps
from .landscape_parser import parse_landscape

log = logging.getLogger(__name__)

FIRST_SEEDS = {"faces": 50_000_000, "landscapes": 51_000_000, "animals": 52_000_000}
COUNT = 200
SIZE = 256  # pixels


class Figure(NamedTuple):
    """One measure, averaged over pictures.

    Attributes:
        kind: Kind of the pictures.
        measure: Name of the measure.
        drawings: Its value for the drawings themselves.
        decoded: Its value for their reconstructions by the VAE.
    """

    kind: str
    measure: str
    drawings: float
    decoded: float

    @property
    def ratio(self) -> float:
        """`decoded` relative to `drawings`."""
        return self.decoded / self.drawings if self.drawings else float("nan")


Measure = Callable[[np.ndarray, dict[str, np.ndarray]], dict[str, float]]
"""(uint8 pictures, (N, H, W, 3); arrays drawn with them) → values."""


def measure_faces(images: np.ndarray, drawn: dict[str, np.ndarray]) -> dict[str, float]:
    """IoU of parsed maps with the true ones, and how flat flat areas are; each picture is parsed by itself."""
    parsed = [parse_face(image) for image in images]
    maps = measure_maps(parsed, {name: drawn[name] for name in MAPS})
    values = {f"{name} IoU": maps[f"{name} IoU"] for name in MAPS} | measure_cleanness(images, parsed, drawn["images"])
    return {name: float(np.nanmean(value)) for name, value in values.items()}


def measure_landscapes(images: np.ndarray, drawn: dict[str, np.ndarray]) -> dict[str, float]:
    """Accuracy of reading sky, orb and hills."""
    parsed = [parse_landscape(image) for image in images]
    return {
        name: float(
            np.mean(right_answers([p[name] for p in parsed], [ATTRIBUTES[name][row] for row in drawn["values"][:, i]]))
        )
        for i, name in enumerate(ATTRIBUTES)
    }


MEASURES: dict[str, Measure] = {"faces": measure_faces, "landscapes": measure_landscapes}
"""Those beyond the PSNR, which all kinds have."""


def measure_reconstructions(
    autoencoder: Autoencoder, cache: Path, count: int = COUNT, size: int = SIZE
) -> tuple[list[Figure], Tensor]:
    """Measure a VAE on drawings that no VAE is trained on.

    Args:
        autoencoder: The VAE.
        cache: Folder of drawn sets.
        count: Pictures of each kind.
        size: Their side in pixels.

    Returns:
        The figures, and the latents of all pictures, (N, C, h, w).
    """
    figures, latents = [], []
    for kind, seed in FIRST_SEEDS.items():
        data = DataConfig(kind, MAPS if kind == "faces" else (), seed=seed, count=count)
        drawn = drawings_of(data, size).draw(cache)
        output, encoded = reconstruct(autoencoder, torch.from_numpy(drawn["images"]).permute(0, 3, 1, 2))
        decoded = output.permute(0, 2, 3, 1).numpy()
        psnr = float(np.mean(peak_signal_to_noise(decoded, drawn["images"])))
        figures.append(Figure(kind, "PSNR", float("inf"), psnr))
        if measure := MEASURES.get(kind):
            before, after = measure(drawn["images"], drawn), measure(decoded, drawn)
            figures += [Figure(kind, name, before[name], after[name]) for name in before]
        latents.append(encoded)
    return figures, torch.cat(latents)


def main(argv: Sequence[str]) -> int:
    """`python -m studies evaluate vae FILE`: measure what a VAE loses."""
    parser = argparse.ArgumentParser(prog="python -m studies evaluate vae", description=main.__doc__)
    parser.add_argument("file", type=Path, help="a VAE, as a [autoencoder] run writes it")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation/vae.csv"), help="the table to write")
    parser.add_argument("--cache", type=Path, default=Path("runs/data"), help="folder of drawn pictures")
    parser.add_argument("--count", type=positive, default=COUNT, help="pictures of each kind")
    arguments = parser.parse_args(argv)
    check_file(arguments.out)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    figures, latents = measure_reconstructions(load_autoencoder(arguments.file), arguments.cache, arguments.count)
    spread, mean = torch.std_mean(latents, dim=(0, 2, 3))
    for channel, (m, s) in enumerate(zip(mean.tolist(), spread.tolist(), strict=True)):
        figures += [Figure("latents", f"mean of channel {channel}", 0.0, m)]
        figures += [Figure("latents", f"deviation of channel {channel}", 1.0, s)]
    rows = [f"{f.kind},{f.measure},{f.drawings:.4f},{f.decoded:.4f},{f.ratio:.4f}" for f in figures]
    make_folder(arguments.out.parent)
    text = "\n".join(["kind,measure,drawings,decoded,ratio", *rows]) + "\n"
    write_text(arguments.out, text)
    log.info("Wrote %s\n%s", arguments.out, text)
    return 0

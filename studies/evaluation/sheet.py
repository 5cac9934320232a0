"""A sheet of uncurated samples: the first ones of a setting, side by side."""

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image

from mcdm_core.cli.values import positive
from mcdm_core.pictures.files import encoded
from mcdm_core.system.formats import write_bytes

from ..files import check_folder_name
from .config import BATCH, EvaluationConfig, Setting, load_evaluation
from .kinds import open_held_out
from .run import check_experts
from .sampling import draw_samples

log = logging.getLogger(__name__)

COUNT = 64


def tiled(images: np.ndarray, columns: int = 0) -> Image.Image:
    """Pictures in a grid without gaps.

    Args:
        images: uint8, (N, H, W, 3), in reading order; empty places of the last row stay black.
        columns: Pictures in a row; 0 for as many as there are rows.
    """
    count, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    empty = np.zeros((rows * columns - count, height, width, 3), np.uint8)
    cells = np.concatenate([images, empty])
    return Image.fromarray(rearrange(cells, "(rows columns) h w c -> (rows h) (columns w) c", columns=columns))


def setting_named(config: EvaluationConfig, label: str) -> Setting:
    """The row with this label.

    Raises:
        ValueError: There is none.
    """
    for row in config.rows:
        if row.label == label:
            return row
    labels = ", ".join(repr(row.label) for row in config.rows)
    raise ValueError(f"Expected the name of a setting and got {label!r}; there are {labels}.")


def main(argv: Sequence[str]) -> int:
    """`python -m studies evaluate sheet CONFIG`: draw the first samples of a setting on one sheet, or of several.

    Those of several settings lie in a row each, the same seed below the same.

    Raises:
        ValueError: The setting is unknown, or an expert is not there.
        WriteError: The sheet could not be written.
    """
    parser = argparse.ArgumentParser(prog="python -m studies evaluate sheet", description=main.__doc__)
    parser.add_argument("config", type=Path, help="a TOML file, as `evaluate` reads it")
    parser.add_argument("--setting", required=True, action="append", help="name of a setting; give it once for each")
    parser.add_argument("--count", type=positive, default=COUNT, help=f"pictures ({COUNT})")
    parser.add_argument("--samples", type=Path, default=Path("runs/samples"), help="keeps samples for later runs")
    parser.add_argument("--workers", type=positive, default=1, help="processes")
    parser.add_argument("--output", type=Path, required=True, help="a JPEG file, which is replaced")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    check_folder_name(arguments.samples)
    config = load_evaluation(arguments.config)
    check_experts(config)
    settings = [setting_named(config, label) for label in arguments.setting]
    batches = math.ceil(arguments.count / BATCH)  # whole ones, as the evaluation draws
    drawn = min(len(open_held_out(config.data)), batches * BATCH)
    samples = [
        draw_samples(setting, config.data, config.files, drawn, arguments.samples, arguments.workers)
        for setting in settings
    ]
    images = [each.images[: arguments.count] for each in samples]
    page = tiled(np.concatenate(images), columns=len(images[0]) if len(images) > 1 else 0)
    write_bytes(arguments.output, encoded(page, "JPEG"))
    log.info("Wrote %s", arguments.output)
    return 0

"""`python -m mcdm_core sample`: pictures from one expert, or from the product of several."""

import argparse
import logging
import math
from collections.abc import Sequence

from PIL import Image

from ..pictures import labelled_grid, to_picture
from .expert_options import add_expert_options, build_terms
from .output import add_output, check_picture, save_picture
from .sampling_options import add_sampling_options, progress_bar, sampling_options_of
from .values import positive

logger = logging.getLogger(__name__)

IN_ONE_ROW = 8
EXAMPLE = """example:
  python -m mcdm_core sample --expert hair --map hair.png --weight 2 --expert text --text "a smiling face" --weight 2
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Sample pictures and write them as one PNG file.

    Raises:
        ValueError: The experts, their conditions or the sampling options cannot be used as given, or the output exists.
        ForeseenError: This machine does not have the device.
        WriteError: The output could not be written; what the file held before is unchanged.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mcdm_core sample",
        description="Sample pictures from one expert, or from the product of several. "
        "Options marked * describe the expert named before them.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_expert_options(parser)
    add_sampling_options(parser)
    parser.add_argument("--count", type=positive, default=1, help="number of pictures (1)")
    add_output(parser, "out/sample.png")
    options = parser.parse_args(argv)

    check_picture(options.output, options.overwrite)
    sampling = sampling_options_of(options)
    terms = build_terms(options.experts, options.device)
    with progress_bar("sampling", sampling.evaluations) as callback:
        samples = sampling.sample(terms, options.seed, options.count, callback)
    pictures = [to_picture(sample) for sample in samples]
    save_picture(options.output, pictures[0] if len(pictures) == 1 else _grid(pictures))
    logger.info("Wrote %s", options.output)


def _grid(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures and their numbers: up to `IN_ONE_ROW` side by side, more in a square, since formats limit the width."""
    if len(pictures) <= IN_ONE_ROW:
        return labelled_grid([str(number + 1) for number in range(len(pictures))], [pictures])
    across = math.ceil(math.sqrt(len(pictures)))
    rows: list[list[Image.Image | str]] = []
    for first in range(0, len(pictures), across):
        row = pictures[first : first + across]
        rows.append([f"{first + 1} to {first + len(row)}", *row, *[""] * (across - len(row))])
    return labelled_grid([""] * (across + 1), rows)

"""`python -m mcdm_core sweep`: one product at many reliabilities, guidance weights and seeds, as a labelled grid."""

import argparse
import logging
from collections.abc import Iterator, Sequence

import torch
from PIL import Image

from ..pictures.files import to_picture
from ..product.rules.eq10 import EQ10
from ..product.terms.term import Term
from ..sampling import sigmas_for
from ..sampling.run import denoiser_of
from ..sampling.sweep import MOST_ACROSS, Cell, Sweep, Swept, Varied, sweep_grid
from ..sampling.sweep_texts import read_sweep
from ..sampling.types import Callback
from ..system.failures import ForeseenError
from .expert_options import add_expert_options, build_terms
from .output import add_output, check_picture, save_picture
from .sampling_options import SamplingOptions, add_sampling_options, progress_bar, sampling_options_of
from .values import positive, whole

logger = logging.getLogger(__name__)

EXAMPLE = """example, how much of the common negative the second expert supplies, for three seeds:
  python -m mcdm_core sweep --expert hair --map hair.png --weight 2 --expert text --text "a smiling face" --weight 2 \\
                            --of 2 --values "0, 0.5, 1" --seeds 3
"""


def sample_cells(
    terms: Sequence[Term], sweep: Sweep, sampling: SamplingOptions, callback: Callback | None = None
) -> Iterator[tuple[Cell, Image.Image]]:
    """Sample a sweep cell by cell, each as `python -m mcdm_core sample` samples one picture.

    Args:
        terms: The experts; they stay loaded.
        sweep: The sweep.
        sampling: How each cell is sampled.
        callback: See `Callback`.

    Yields:
        A cell and its picture.

    Raises:
        ValueError: If the terms of some cell cannot be combined at every noise level; before any network is called.
    """
    reference = terms[0].expert
    sigmas = sigmas_for(reference.schedule, sampling.steps)
    x = torch.empty(1, *reference.sample_shape)

    def check(swept: Sequence[Term]) -> None:
        denoiser = denoiser_of(swept, x, EQ10, sampling.settings)
        denoiser.check_run(denoiser.start_noise(x), sigmas)

    sweep.check_cells(terms, check)
    for cell in sweep.cells():
        (sample,) = sampling.sample(sweep.at(terms, cell), cell.seed, 1, callback)
        yield cell, to_picture(sample)


def main(argv: Sequence[str] | None = None) -> None:
    """Sample a grid and write it as a PNG file, which is written anew after each cell.

    Raises:
        ValueError: The experts, their conditions, the sampling options or the sweep cannot be used as given, or
            the output exists.
        ForeseenError: This machine lacks the device, or the sweep was interrupted; finished cells are written.
        WriteError: A grid could not be written; the one before it is unchanged.
    """
    options = _parser().parse_args(argv)
    vary = Varied[options.vary.upper()].value
    sweep = read_sweep(options.of, options.values, vary, options.guidance, options.seed, options.seeds)
    check_picture(options.output, options.overwrite)
    sampling = sampling_options_of(options)
    evaluations = len(sweep.cells()) * sampling.evaluations
    terms = build_terms(options.experts, options.device)
    sweep.check(terms)
    name, cells = terms[sweep.expert].expert.name, sweep.cells()
    swept = Swept(name, name, has_others=len(terms) > 1)
    pictures: dict[Cell, Image.Image] = {}
    try:
        with progress_bar(f"{len(cells)} cells", evaluations) as callback:
            for cell, picture in sample_cells(terms, sweep, sampling, callback):
                pictures[cell] = picture
                save_picture(options.output, sweep_grid(sweep, swept, pictures))
    except KeyboardInterrupt:
        if pictures:  # the interruption may have come before the last one was written
            save_picture(options.output, sweep_grid(sweep, swept, pictures))
        kept = f"{options.output} has them" if pictures else "nothing was written"
        raise ForeseenError(f"Interrupted after {len(pictures)} of {len(cells)} cells; {kept}.") from None
    logger.info("Wrote %s", options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mcdm_core sweep",
        description="Sample one product at many reliabilities, guidance weights and seeds, and write a labelled grid. "
        "Each cell is what `sample` gives; all cells of a seed start from the same noise. The file is written anew "
        "after each cell, so that an interrupted sweep keeps what is done. Options marked * describe the expert named "
        "before them.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_expert_options(parser)
    parser.add_argument("--of", type=positive, default=1, metavar="N", help="which expert to sweep, counted from 1 (1)")
    parser.add_argument(
        "--values",
        default="0, 0.25, 0.5, 0.75, 1",
        help='a row for each: numbers from 0 to 1, or "0-1 [5]" for five of them; for --vary absolute any weights '
        "(0, 0.25, 0.5, 0.75, 1)",
    )
    parser.add_argument(
        "--vary",
        choices=[varied.name.lower() for varied in Varied],
        default="reliability",
        help="what a value v sets: the expert's share v in the common negative (U), its weight times v and the "
        "others' times 1 - v, or both; with absolute v is its weight, and the others keep theirs (reliability)",
    )
    parser.add_argument("--guidance", default="1", help="factors of all weights, a column for each with every seed (1)")
    add_sampling_options(parser)
    parser.add_argument(
        "--seeds",
        type=whole(1, MOST_ACROSS),
        default=1,
        metavar="N",
        help="columns of seeds, counted up from --seed (1)",
    )
    add_output(parser, "out/sweep.png")
    return parser

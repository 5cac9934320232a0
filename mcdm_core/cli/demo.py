"""`python -m mcdm_core demo`: faces from a hair map, a skin map and a caption at once.

The three experts were trained apart, each on its own condition and its own faces. The grid shows the conditions, what
each expert makes of its own, and what all make of them together.
"""

import argparse
import functools
import logging
from collections.abc import Sequence

import torch

from ..checkpoints import load_expert
from ..pictures import example_picture, labelled_grid, map_to_picture, to_picture
from ..product.terms.term import Term
from ..sampling import sample_ddim
from .output import add_output, check_picture, save_picture
from .sampling_options import SamplingOptions, progress_bar
from .values import seed

logger = logging.getLogger(__name__)

CAPTIONS = (
    "a laughing face with red hair on a white background",
    "an angry tan face with purple hair on a green background",
    "a surprised dark-skinned face with blonde hair, blue background",
    "a smiling pale face with red hair on a purple background",
)
WEIGHTS = {"hair": 2.0, "skin": 2.0, "text": 5.0}
COLUMNS = (
    "hair map",
    "skin map",
    "caption",
    "hair expert\nalone",
    "skin expert\nalone",
    "text expert\nalone",
    "united",
)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the grid.

    Raises:
        ValueError: The steps or the output cannot be used as given, or the output exists.
        WriteError: The output could not be written; what the file held before is unchanged.
    """
    parser = argparse.ArgumentParser(prog="python -m mcdm_core demo", description=__doc__.split(":", 1)[1].strip())
    parser.add_argument("--steps", default="50", help='number of DDIM steps, or a spacing such as "ddim50" (50)')
    parser.add_argument("--seed", type=seed, default=1, help="seed of the start noise (1)")
    add_output(parser, "out/demo.png")
    options = parser.parse_args(argv)

    check_picture(options.output, options.overwrite)
    # η = 1 is ancestral sampling, which follows captions better than the ODE.
    sampling = SamplingOptions(options.steps, functools.partial(sample_ddim, eta=1.0))
    sampling.check()
    experts = {name: load_expert(name) for name in WEIGHTS}
    faces = range(1, len(CAPTIONS) + 1)
    maps = {name: torch.cat([example_picture(f"face_{face}_{name}") for face in faces]) for name in ("hair", "skin")}
    conditions = {name: experts[name].encoder.encode_map(images) for name, images in maps.items()}
    conditions["text"] = experts["text"].encoder.encode_text(CAPTIONS)
    # With reliabilities as weights, each prompt is measured against its own expert's null.
    terms = [
        Term(experts[name], conditions[name], conditions[name].null(), weight=weight, reliability=weight)
        for name, weight in WEIGHTS.items()
    ]
    samples = []
    for title, chosen in [*((f"{term.expert.name} alone", [term]) for term in terms), ("united", terms)]:
        with progress_bar(title, sampling.evaluations) as callback:
            samples.append(sampling.sample(chosen, options.seed, len(CAPTIONS), callback))
    columns = [
        *([map_to_picture(image[None, ..., 0]) for image in images] for images in maps.values()),
        CAPTIONS,
        *([to_picture(picture) for picture in pictures] for pictures in samples),
    ]
    save_picture(options.output, labelled_grid(COLUMNS, list(zip(*columns, strict=True))))
    logger.info("Wrote %s", options.output)

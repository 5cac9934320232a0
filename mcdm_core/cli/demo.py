"""`python -m mcdm_core demo`: faces from a hair map, a skin map and a caption at once.

The three experts were trained apart, each on its own condition and its own faces. The grid shows the conditions, what
each expert makes of its own, and what all make of them together.
"""

import argparse
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints import load_expert
from ..pictures import labelled_grid, load_picture, map_to_picture, to_picture
from ..product.term import Term
from ..sampling import sample_ddim
from .expert_options import expert_file
from .progress import progress_bar
from .settings import Settings

logger = logging.getLogger(__name__)

INPUTS = Path(__file__).resolve().parents[2] / "workflows" / "inputs"
CAPTIONS = (
    "a smiling man with red hair and a full beard on a white background",
    "an angry tan woman with purple hair on a green background",
    "a surprised dark-skinned person with blonde hair, blue background",
    "a laughing pale girl with red hair on a purple background",
)
WEIGHTS = {"hair": 2.0, "skin": 2.0, "text": 4.0}
COLUMNS = (
    "hair map",
    "skin map",
    "caption",
    "hair expert\nalone",
    "skin expert\nalone",
    "text expert\nalone",
    "united",
)


def load_maps(name: str) -> Tensor:
    """Read the example maps named "hair" or "skin", one per caption; shape (len(CAPTIONS), H, W, 3), values 0…1."""
    return torch.cat([load_picture(INPUTS / f"face_{face}_{name}.png") for face in range(1, len(CAPTIONS) + 1)])


def main(argv: Sequence[str] | None = None) -> None:
    """Write the grid."""
    parser = argparse.ArgumentParser(prog="python -m mcdm_core demo", description=__doc__.split(":", 1)[1].strip())
    parser.add_argument("--steps", default="50", help='number of DDIM steps, or a spacing such as "ddim50" (50)')
    parser.add_argument("--seed", type=int, default=1, help="seed of the start noise (1)")
    parser.add_argument("--output", type=Path, default=Path("out/demo.png"), help="file to write (out/demo.png)")
    options = parser.parse_args(argv)

    experts = {name: load_expert(expert_file(name)) for name in WEIGHTS}
    maps = {name: load_maps(name) for name in ("hair", "skin")}
    conditions = {name: experts[name].encoder.encode_map(images) for name, images in maps.items()}
    conditions["text"] = experts["text"].encoder.encode_text(CAPTIONS)
    terms = [
        Term(experts[name], conditions[name], conditions[name].null(), weight=weight)
        for name, weight in WEIGHTS.items()
    ]
    # Ancestrally, which obeys captions better than the ODE.
    settings = Settings(options.steps, functools.partial(sample_ddim, eta=1.0))
    samples = []
    for title, united in [*((f"{term.expert.name} alone", [term]) for term in terms), ("united", terms)]:
        with progress_bar(title, settings.evaluations) as callback:
            samples.append(settings.sample(united, options.seed, len(CAPTIONS), callback))
    columns = [
        *([map_to_picture(image[None, ..., 0]) for image in images] for images in maps.values()),
        CAPTIONS,
        *([to_picture(picture) for picture in pictures] for pictures in samples),
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    labelled_grid(COLUMNS, list(zip(*columns, strict=True))).save(options.output)
    logger.info("Wrote %s", options.output)

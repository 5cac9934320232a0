"""`python -m mcdm_core sample`: pictures from one expert, or from the product of several."""

import argparse
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .checkpoints import load_expert
from .condition import Condition
from .conditions import SketchSource
from .experts import Expert
from .pictures import labelled_grid, load_picture, to_picture
from .progress import progress_bar
from .respacing import space_timesteps
from .sampling import sample_product
from .sampling.types import Callback
from .terms import Term

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parent.parent / "experts"
CONDITIONS = ("map", "sketch", "drawing", "text", "class_name")
EXAMPLE = """example:
  python -m mcdm_core sample --expert hair --map hair.png --weight 2 --expert text --text "a smiling man" --weight 2
"""


@dataclass
class ExpertRequest:
    """What the command line says of one expert; the fields are named as the options.

    Attributes:
        expert: Name of a shipped expert, or a file.
        map: Picture of a segmentation map, white where the part is.
        sketch: Picture whose edges are the sketch.
        drawing: Drawing, dark lines on light paper.
        text: Caption.
        class_name: Name or index of a class.
        weight: w_i.
        reliability: a_i, before normalization.
        start: Share of the steps after which the expert begins to act, 0…1.
        end: Share of the steps after which it stops, 0…1.
    """

    expert: str
    map: Path | None = None
    sketch: Path | None = None
    drawing: Path | None = None
    text: str | None = None
    class_name: str | None = None
    weight: float = 1.0
    reliability: float = 1.0
    start: float = 0.0
    end: float = 1.0


class _BeginExpert(argparse.Action):
    """`--expert NAME` begins the description of one more expert."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        namespace.experts = [*(namespace.experts or []), ExpertRequest(values)]


class _DescribeExpert(argparse.Action):
    """Options such as `--weight 2` describe the expert named last."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        if not namespace.experts:
            parser.error(f"--{self.dest} describes an expert; put it after --expert NAME")
        setattr(namespace.experts[-1], self.dest, values)


def expert_file(name: str) -> Path:
    """Find an expert by file name, or a shipped one by its name.

    Raises:
        ValueError: There is neither.
    """
    for path in (Path(name), SHIPPED / f"{name}.safetensors"):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.safetensors"))) or "none"
    raise ValueError(f"--expert should name a file or a shipped expert ({shipped}), but {name!r} is neither.")


def encode_request(expert: Expert, request: ExpertRequest) -> Condition | None:
    """Encode the condition that the command line gives to an expert, None where it gives none.

    Raises:
        ValueError: More than one condition is given, or one that does not drive this expert.
    """
    given = {kind: value for kind in CONDITIONS if (value := getattr(request, kind)) is not None}
    if len(given) > 1:
        raise ValueError(
            f"An expert takes one condition, but {request.expert} got {', '.join(given)}; keep one of them."
        )
    if request.map is not None:
        return expert.encoder.encode_map(load_picture(request.map))
    if request.sketch is not None:
        return expert.encoder.encode_sketch(load_picture(request.sketch))
    if request.drawing is not None:
        return expert.encoder.encode_sketch(load_picture(request.drawing), SketchSource.DARK_ON_LIGHT)
    if request.text is not None:
        return expert.encoder.encode_text(request.text)
    if request.class_name is not None:
        return expert.encoder.encode_class(expert.encoder.find_class(request.class_name))
    return None


def build_term(request: ExpertRequest, device: str) -> Term:
    """Load an expert and encode its condition."""
    expert = load_expert(expert_file(request.expert), device)
    return Term(
        expert,
        encode_request(expert, request),
        expert.encoder.null(1),
        weight=request.weight,
        reliability=request.reliability,
        start=request.start,
        end=request.end,
    )


def start_noise(seed: int, count: int, channels: int, size: int) -> torch.Tensor:
    """Draw the start noise of a seed, the same that ComfyUI draws; shape (count, channels, size, size)."""
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def sample_seed(
    terms: Sequence[Term],
    seed: int,
    count: int,
    steps: str,
    eta: float,
    device: str,
    callback: Callback | None = None,
) -> torch.Tensor:
    """Sample from a product as the command does.

    Args:
        terms: The experts; the first gives the size of the pictures.
        seed: Seed of the start noise, and of the noise added on the way.
        count: Number of pictures.
        steps: Timestep spacing; see `space_timesteps`.
        eta: η of DDIM.
        device: Where to sample.
        callback: See `Callback`.

    Returns:
        Samples in [−1, 1] for pixel experts, shape (count, channels, size, size).

    Raises:
        ValueError: As `sample_product`.
    """
    reference = terms[0].expert
    noise = start_noise(seed, count, reference.channels, reference.image_size)
    # Seeded apart from the start noise, or the first step would add the same numbers again.
    generator = torch.Generator().manual_seed((seed + 1) % 2**64)
    return sample_product(terms, noise.to(device), steps, eta, generator, callback)


def add_expert_options(parser: argparse.ArgumentParser) -> None:
    """Add `--expert` and what describes an expert; they are read as `options.experts`, a list of `ExpertRequest`."""
    parser.add_argument(
        "--expert", dest="experts", action=_BeginExpert, required=True, help="a shipped expert's name, or a file"
    )
    describe = functools.partial(parser.add_argument, action=_DescribeExpert, default=argparse.SUPPRESS)
    describe("--map", type=Path, help="* segmentation map, white where the part is")
    describe("--sketch", type=Path, help="* picture whose edges are the sketch")
    describe("--drawing", type=Path, help="* drawing, dark lines on light paper")
    describe("--text", help="* caption")
    describe("--class-name", help="* name or index of a class")
    describe("--weight", type=float, help="* guidance weight w (1)")
    describe("--reliability", type=float, help="* share in the unconditional estimate (1)")
    describe("--start", type=float, help="* share of the steps at which it begins to act (0)")
    describe("--end", type=float, help="* share of the steps at which it stops (1)")


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sample_seed`: `seed`, `steps`, `eta` and `device`."""
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (0)")
    parser.add_argument("--steps", default="100", help='number of DDIM steps, or a spacing such as "ddim50" (100)')
    parser.add_argument("--eta", type=float, default=0.0, help="noise added in each step, 0 none, 1 as in DDPM (0)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="torch device")


def main(argv: Sequence[str] | None = None) -> None:
    """Sample pictures and write them as one PNG file.

    Raises:
        ValueError: The experts or their conditions cannot be used as given.
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
    parser.add_argument("--count", type=int, default=1, help="number of pictures (1)")
    parser.add_argument("--output", type=Path, default=Path("out/sample.png"), help="file to write (out/sample.png)")
    options = parser.parse_args(argv)

    terms = [build_term(request, options.device) for request in options.experts]
    with progress_bar("sampling", len(space_timesteps(options.steps))) as callback:
        samples = sample_seed(terms, options.seed, options.count, options.steps, options.eta, options.device, callback)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pictures = [to_picture(sample) for sample in samples]
    if len(pictures) == 1:
        pictures[0].save(options.output)
    else:
        labelled_grid([str(number) for number in range(1, len(pictures) + 1)], [pictures]).save(options.output)
    logger.info("Wrote %s", options.output)

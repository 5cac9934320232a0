"""`python -m mcdm_core sample`: pictures from one expert, or from the product of several."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from ..diffusion.respacing import space_timesteps
from ..pictures import labelled_grid, to_picture
from ..product.term import Term
from ..sampling import sample_product
from ..sampling.types import Callback
from .expert_options import add_expert_options, build_terms
from .progress import progress_bar

logger = logging.getLogger(__name__)

EXAMPLE = """example:
  python -m mcdm_core sample --expert hair --map hair.png --weight 2 --expert text --text "a smiling man" --weight 2
"""


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
    temperature: float = 1.0,
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
        temperature: Factor of the start noise.

    Returns:
        Samples in [−1, 1] for pixel experts, shape (count, channels, size, size).

    Raises:
        ValueError: As `sample_product`.
    """
    reference = terms[0].expert
    noise = temperature * start_noise(seed, count, reference.channels, reference.image_size)
    # Seeded apart from the start noise, or the first step would add the same numbers again.
    generator = torch.Generator().manual_seed((seed + 1) % 2**64)
    return sample_product(terms, noise.to(device), steps, eta, generator, callback)


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sample_seed`: `seed`, `steps`, `eta`, `temperature` and `device`."""
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (0)")
    parser.add_argument("--steps", default="100", help='number of DDIM steps, or a spacing such as "ddim50" (100)')
    parser.add_argument("--eta", type=float, default=0.0, help="noise added in each step, 0 none, 1 as in DDPM (0)")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="factor of the start noise; published upsamplers want 0.997 (1)"
    )
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

    terms = build_terms(options.experts, options.device)
    with progress_bar("sampling", len(space_timesteps(options.steps))) as callback:
        samples = sample_seed(
            terms,
            options.seed,
            options.count,
            options.steps,
            options.eta,
            options.device,
            callback,
            options.temperature,
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pictures = [to_picture(sample) for sample in samples]
    if len(pictures) == 1:
        pictures[0].save(options.output)
    else:
        labelled_grid([str(number) for number in range(1, len(pictures) + 1)], [pictures]).save(options.output)
    logger.info("Wrote %s", options.output)

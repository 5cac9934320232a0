"""Sampling on the command line: options that `sample` and `sweep` share, and progress."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from ..diffusion.respacing import space_timesteps
from ..product.methods.method import Setting
from ..product.methods.passes import Passes
from ..product.terms.term import Term
from ..sampling import SAMPLERS, sample_ddim, sample_product
from ..sampling.ddim import DDIM
from ..sampling.registry import ABOUT
from ..sampling.types import Callback, Sampler
from ..system.failures import ForeseenError, first_line
from .values import finite, seed


@dataclass(frozen=True)
class SamplingOptions:
    """How a product is sampled.

    Attributes:
        steps: Timestep spacing; see `space_timesteps`.
        sampler: How noise is removed.
        temperature: Factor of the start noise.
        device: Device to sample on.
        settings: What is chosen beyond the paper, `Passes` for example.
    """

    steps: str
    sampler: Sampler = sample_ddim
    temperature: float = 1.0
    device: str = "cpu"
    settings: tuple[Setting, ...] = ()

    @property
    def evaluations(self) -> int:
        """Evaluations of the product: one for each step.

        Raises:
            ValueError: If the spacing cannot be read.
        """
        return len(space_timesteps(self.steps))

    def check(self) -> None:
        """Check what can be checked before any expert is loaded.

        Raises:
            ValueError: The spacing cannot be read, or torch knows no such device.
            ForeseenError: This machine does not have the device.
        """
        space_timesteps(self.steps)
        check_device(self.device)

    def sample(self, terms: Sequence[Term], seed: int, count: int, callback: Callback | None = None) -> Tensor:
        """Sample from a product.

        Args:
            terms: The experts; the first gives the size of the pictures.
            seed: Seed of the start noise, which is the same as ComfyUI's, and of the noise added on the way.
            count: Number of pictures.
            callback: See `Callback`.

        Returns:
            Pictures in [−1, 1] but for overshoot, shape (count, 3, size, size).

        Raises:
            ValueError: As `sample_product`.
        """
        expert = terms[0].expert
        shape = count, *expert.sample_shape
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        # Another seed than the start noise's, or the first step would add the same numbers again.
        generator = torch.Generator().manual_seed((seed + 1) % 2**64)
        samples = sample_product(
            terms,
            noise.to(self.device),
            self.steps,
            sampler=self.sampler,
            generator=generator,
            callback=callback,
            settings=self.settings,
            temperature=self.temperature,
        )
        return expert.decode(samples)


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add `--seed` and the options that `sampling_options_of` reads."""
    parser.add_argument("--seed", type=seed, default=0, help="seed of the noise (0)")
    parser.add_argument("--steps", default="100", help='number of steps, or a spacing such as "ddim50" (100)')
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="ddim",
        help="how noise is removed: " + "; ".join(f"{name} {ABOUT[name]}" for name in SAMPLERS) + " (ddim)",
    )
    parser.add_argument("--eta", type=finite, help="noise that ddim adds in each step, 0 none, 1 as much as ddpm (0)")
    parser.add_argument(
        "--temperature", type=finite, default=1.0, help="factor of the start noise; published upsamplers want 0.997 (1)"
    )
    _add_passes(parser.add_argument_group("fewer passes", "Passes to skip, for speed; off by default."))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="torch device")


def _add_passes(group: argparse._ArgumentGroup) -> None:
    """Add the options that set `Passes`."""
    group.add_argument(
        "--interval",
        type=float,
        nargs=2,
        default=(Passes.start, Passes.end),
        metavar=("START", "END"),
        help="shares of the steps between which the product is guided; outside, positive weights are divided by their "
        "sum, and no negative is asked (0 1)",
    )
    group.add_argument(
        "--interval-sigmas",
        type=float,
        nargs=2,
        default=(Passes.sigma_start, Passes.sigma_end),
        metavar=("START", "END"),
        help="noise levels between which it is guided, 0 for no limit (0 0)",
    )
    group.add_argument(
        "--threshold",
        type=float,
        default=Passes.threshold,
        help="with --refresh: skip a negative that is this alike to its prompt, by their cosine (1)",
    )
    group.add_argument(
        "--refresh",
        type=int,
        default=Passes.refresh,
        metavar="N",
        help="with --threshold: everything is asked again every N steps (1)",
    )
    group.add_argument(
        "--switch",
        type=int,
        default=Passes.switch,
        metavar="N",
        help="experts of positive weight take turns of N steps; 0: they act together (0)",
    )


def sampling_options_of(options: argparse.Namespace) -> SamplingOptions:
    """Read the options of `add_sampling_options`.

    Raises:
        ValueError: If one of `--threshold` and `--refresh` lacks the other, if `--eta` is outside 0…1 or given to
            another sampler than DDIM, or as `SamplingOptions.check` and the settings beyond the paper.
        ForeseenError: As `SamplingOptions.check`.
    """
    if (options.threshold < 1) != (options.refresh > 1):
        raise ValueError(
            f"--threshold {options.threshold:g} with --refresh {options.refresh} skips no negative; give both, such as "
            "--threshold 0.99 --refresh 3, or neither."
        )
    sampler = SAMPLERS[options.sampler]
    if options.eta is not None:
        if sampler is not sample_ddim:
            raise ValueError(
                f"--eta is for --sampler ddim, but the sampler is {options.sampler}, which decides itself how much "
                "noise it adds; leave --eta out, or choose ddim."
            )
        sampler = DDIM(options.eta)
    start, end = options.interval
    sigma_start, sigma_end = options.interval_sigmas
    passes = Passes(
        start=start,
        end=end,
        sigma_start=sigma_start,
        sigma_end=sigma_end,
        threshold=options.threshold,
        refresh=options.refresh,
        switch=options.switch,
    )
    sampling = SamplingOptions(
        options.steps,
        sampler,
        options.temperature,
        options.device,
        (passes,),
    )
    sampling.check()
    return sampling


def check_device(name: str) -> None:
    """Check that torch can compute on a device, by doing so.

    Raises:
        ValueError: torch knows no device of this name.
        ForeseenError: This machine does not have the device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"Expected a device such as cpu or cuda and got {name!r}; correct --device.") from None
    try:
        torch.zeros(1, device=device).add(1).item()
    except Exception as error:  # each backend has exceptions of its own
        raise ForeseenError(
            f"The device {name} cannot be used here ({first_line(error)}); choose another, such as cpu."
        ) from None


@contextmanager
def progress_bar(title: str, steps: int) -> Iterator[Callback]:
    """Show a bar on stderr.

    Args:
        title: Label of the bar.
        steps: Number of network evaluations.

    Yields:
        A callback for the samplers that moves the bar by one step.
    """
    with tqdm(total=steps, desc=title) as bar:

        def advance(step: int, sigma: float, denoised: Tensor) -> None:
            bar.update()

        yield advance

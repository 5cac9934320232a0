"""How the command line samples, whatever the experts: the options that `sample` and `sweep` share."""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion.respacing import space_timesteps
from ..product.agreement import PLAIN_WEIGHTS, Agreement
from ..product.passes import EVERY_PASS, Passes
from ..product.term import Term
from ..sampling import SAMPLERS, sample_ddim, sample_langevin, sample_product
from ..sampling.langevin import check_langevin, check_stepwise
from ..sampling.types import Callback, Sampler
from ..system.devices import check_device
from .values import finite, seed, whole


@dataclass(frozen=True)
class Settings:
    """How a product is sampled.

    Attributes:
        steps: Timestep spacing; see `space_timesteps`.
        sampler: How noise is removed.
        temperature: Factor of the start noise.
        device: Where to sample.
        passes: What may be left out.
        agreement: How the positive weights are shared out.
        corrections: Langevin steps that the sampler makes after each level but the last.
    """

    steps: str
    sampler: Sampler = sample_ddim
    temperature: float = 1.0
    device: str = "cpu"
    passes: Passes = EVERY_PASS
    agreement: Agreement = PLAIN_WEIGHTS
    corrections: int = 0

    @property
    def evaluations(self) -> int:
        """How often the product is asked: once for each step, and for each correction.

        Raises:
            ValueError: If the spacing cannot be read.
        """
        steps = len(space_timesteps(self.steps))
        return steps + self.corrections * (steps - 1)

    def check(self) -> None:
        """Check, before any expert is loaded, what can be checked without one.

        Raises:
            ValueError: The spacing cannot be read, or there is no device of such a name.
            ForeseenError: The device is not here.
        """
        space_timesteps(self.steps)
        check_device(self.device)

    def sample(self, terms: Sequence[Term], seed: int, count: int, callback: Callback | None = None) -> Tensor:
        """Sample from a product.

        Args:
            terms: The experts; the first gives the size of the pictures.
            seed: Seed of the start noise, which is the one that ComfyUI draws, and of the noise added on the way.
            count: Number of pictures.
            callback: See `Callback`.

        Returns:
            Pictures in [−1, 1] but for overshoot, shape (count, 3, size, size).

        Raises:
            ValueError: As `sample_product`.
        """
        expert = terms[0].expert
        shape = count, *expert.sample_shape
        noise = self.temperature * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        # Seeded apart from the start noise, or the first step would add the same numbers again.
        generator = torch.Generator().manual_seed((seed + 1) % 2**64)
        samples = sample_product(
            terms,
            noise.to(self.device),
            self.steps,
            sampler=self.sampler,
            generator=generator,
            callback=callback,
            passes=self.passes,
            agreement=self.agreement,
        )
        return expert.decode(samples)


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add `--seed`, and what `settings_of` reads."""
    parser.add_argument("--seed", type=seed, default=0, help="seed of the noise (0)")
    parser.add_argument("--steps", default="100", help='number of steps, or a spacing such as "ddim50" (100)')
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="ddim",
        help="how noise is removed: ddim adds none on the way; ddpm adds some in each step, and ddpm-large more; "
        "ddpm-learned adds what the first expert's network says, where it was trained to; particles is ddpm that "
        "drops pictures of a --count for copies of likelier ones (ddim)",
    )
    parser.add_argument("--eta", type=finite, help="noise that ddim adds in each step, 0 none, 1 as much as ddpm (0)")
    parser.add_argument(
        "--corrections",
        type=whole(0),
        default=0,
        metavar="K",
        help="Langevin steps after each level, which pull samples towards the true product of the experts; each costs "
        "as much as a step (0)",
    )
    parser.add_argument(
        "--correction-size",
        type=finite,
        default=0.1,
        metavar="R",
        help="their size as a share of sigma^2, 0 to 1 (0.1)",
    )
    parser.add_argument(
        "--temperature", type=finite, default=1.0, help="factor of the start noise; published upsamplers want 0.997 (1)"
    )
    fewer = parser.add_argument_group("fewer passes", "What a run may leave out; by default nothing.")
    _add_pair(
        fewer,
        "--interval",
        [0.0, 1.0],
        "shares of the steps between which the product is guided; outside, positive weights are divided by their "
        "sum, and no null is asked (0 1)",
    )
    _add_pair(
        fewer,
        "--interval-sigmas",
        [0.0, 0.0],
        "noise levels between which it is guided, 0 for no limit (0 0)",
    )
    fewer.add_argument(
        "--threshold", type=float, default=1.0, help="cosine of condition and null above which a null is left out (1)"
    )
    fewer.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="relative change of an expert's guidance below which it is left out (0)",
    )
    fewer.add_argument(
        "--refresh", type=int, default=1, metavar="N", help="everything is asked again every N steps (1)"
    )
    fewer.add_argument(
        "--switch",
        type=int,
        default=0,
        metavar="N",
        help="experts of positive weight take turns of N steps; 0: they act together (0)",
    )
    agreement = parser.add_argument_group(
        "agreement weights", "How experts share their weights out, place by place; by default not at all."
    )
    agreement.add_argument(
        "--tau",
        type=float,
        default=0.0,
        help="how far it decides which expert leaves the unconditional estimate the most, 0 to 10000, 300 for example "
        "(0)",
    )
    agreement.add_argument(
        "--patch", type=int, default=5, metavar="N", help="side of the patches that are compared, odd (5)"
    )
    _add_pair(
        agreement,
        "--agreement-window",
        [0.0, 0.8],
        "shares of the steps between which weights are shared out (0 0.8)",
    )
    _add_pair(
        agreement,
        "--agreement-sigmas",
        [0.0, 0.0],
        "noise levels between which they are, 0 for no limit (0 0)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="torch device")


def _add_pair(group: argparse._ArgumentGroup, name: str, default: list[float], help_text: str) -> None:
    """An option of two numbers, where something begins and where it ends."""
    group.add_argument(name, nargs=2, type=float, default=default, metavar=("START", "END"), help=help_text)


def settings_of(options: argparse.Namespace) -> Settings:
    """Read what `add_sampling_options` added.

    Raises:
        ValueError: If `--eta` is given to another sampler than DDIM, or as `Settings.check`, `check_stepwise`, `Passes`
            and `Agreement`.
        ForeseenError: As `Settings.check`.
    """
    sampler = SAMPLERS[options.sampler]
    if options.eta is not None:
        if sampler is not sample_ddim:
            raise ValueError(
                f"--eta is for --sampler ddim, but the sampler is {options.sampler}, which decides itself how much "
                "noise it adds; leave --eta out, or choose ddim."
            )
        sampler = functools.partial(sample_ddim, eta=options.eta)
    check_langevin(options.corrections, options.correction_size)
    if options.corrections:
        check_stepwise(sampler)
        how = {"corrections": options.corrections, "ratio": options.correction_size}
        sampler = functools.partial(sample_langevin, sampler=sampler, **how)
    settings = Settings(
        options.steps,
        sampler,
        options.temperature,
        options.device,
        _passes_of(options),
        _agreement_of(options),
        options.corrections,
    )
    settings.check()
    return settings


def _agreement_of(options: argparse.Namespace) -> Agreement:
    (start, end), (sigma_start, sigma_end) = options.agreement_window, options.agreement_sigmas
    window = {"start": start, "end": end, "sigma_start": sigma_start, "sigma_end": sigma_end}
    return Agreement(tau=options.tau, patch=options.patch, **window)


def _passes_of(options: argparse.Namespace) -> Passes:
    (start, end), (sigma_start, sigma_end) = options.interval, options.interval_sigmas
    return Passes(
        start=start,
        end=end,
        sigma_start=sigma_start,
        sigma_end=sigma_end,
        threshold=options.threshold,
        tolerance=options.tolerance,
        refresh=options.refresh,
        switch=options.switch,
    )

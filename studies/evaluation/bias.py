"""`python -m studies evaluate product-bias`: how far samples of a product are from the product of the densities.

Eq. 10 adds scores of noised densities, and a product of noised densities is not the noised product. For Gaussians both
are known in closed form, and so are the samplers' limits (see `studies.gaussian`). The product of two experts'
densities over their null is also the density of pictures with both conditions, if these are independent given the
picture.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mcdm_core.cli.values import seed
from mcdm_core.diffusion.schedule import Schedule
from mcdm_core.pictures.files import encoded
from mcdm_core.pictures.plots import Panel, plot_lines
from mcdm_core.product.terms.term import Term
from mcdm_core.sampling import sample_product
from mcdm_core.system.writer import make_folder

from ..files import check_folder_name, csv_bytes, write_files
from ..gaussian import Moments, gaussian_expert, label, ode_moments, product_moments, sde_moments
from ..metrics.bootstrap import Figure, bootstrap_interval
from ..stacked import stacked

log = logging.getLogger(__name__)

NAME = "product_bias"
TARGET = "product of the densities"
METHODS = ("ODE, closed form", "DDIM, eta = 0", "SDE, closed form", "DDIM, eta = 1")
SCHEDULE = Schedule.cosine()
DRAWS = 500
FEWEST_SAMPLES, FEWEST_STEPS = 100, 10

Two = tuple[float, float]


@dataclass(frozen=True)
class GaussianPair:
    """Two one-dimensional Gaussian experts, of equal reliability and each with its own null.

    Attributes:
        means: Means under the conditions.
        variances: Variances under the conditions.
        null_means: Means under the nulls; by default both nulls are N(0, 1), the data of both experts.
        null_variances: Variances under the nulls.
        weights: w.
    """

    means: Two
    variances: Two
    null_means: Two = (0.0, 0.0)
    null_variances: Two = (1.0, 1.0)
    weights: Two = (1.0, 1.0)

    def factors(self) -> tuple[list[float], list[float], list[float]]:
        """Means, variances and signed coefficients of both conditions and both nulls: w_i, then −(W − 1)/2 twice."""
        null = (1 - sum(self.weights)) / 2
        return (
            [*self.means, *self.null_means],
            [*self.variances, *self.null_variances],
            [*self.weights, null, null],
        )

    def terms(self) -> list[Term]:
        """The experts as terms of one network, so that all four predictions are one batch."""
        means, variances, _ = self.factors()
        expert = gaussian_expert(means, variances, SCHEDULE)
        return [Term(expert, label(i), label(i + 2), weight=weight) for i, weight in enumerate(self.weights)]


@dataclass(frozen=True)
class Study:
    """Products that differ in one variable.

    Attributes:
        title: Heading of its tables.
        variable: Name of the variable.
        pairs: Value of the variable → the product; integers where `plotted` is set.
        plotted: The moment whose error is plotted, "mean" or "std"; None draws no plot.
    """

    title: str
    variable: str
    pairs: dict[str, GaussianPair]
    plotted: str | None = None


STUDIES = (
    Study(
        "Single cases",
        "case",
        {
            "equal covariances": GaussianPair((-1, 1.5), (0.5, 0.5), (-0.2, 0.4), (0.5, 0.5)),
            "disjoint coordinates, the first expert's": GaussianPair((-1, 0.1), (0.3, 1), (0.1, 0.1), (1, 1)),
            "disjoint coordinates, the second's": GaussianPair((0.2, 1.5), (2, 0.8), (0.2, 0.2), (2, 2)),
            "worked case: N(−1, 0.3), N(1.5, 0.8), null N(0.2, 2)": GaussianPair(
                (-1, 1.5), (0.3, 0.8), (0.2, 0.2), (2, 2)
            ),
        },
    ),
    Study(
        "Contradicting conditions: N(−d/2, 0.2), N(d/2, 0.5), null N(0, 1)",
        "distance d of the means",
        {f"{d}": GaussianPair((-d / 2, d / 2), (0.2, 0.5)) for d in range(5)},
        "mean",
    ),
    Study(
        "Narrow conditions: N(0, 1/r), N(1, 1/r), null N(0, 1)",
        "ratio r of variances",
        {f"{r}": GaussianPair((0, 1), (1 / r, 1 / r)) for r in (1, 2, 4, 8, 16)},
        "std",
    ),
    Study(
        "Guidance: N(0, 0.5), N(1, 0.5), null N(0, 1), w = W/2 each",
        "total weight W",
        {f"{w}": GaussianPair((0, 1), (0.5, 0.5), weights=(w / 2, w / 2)) for w in (1, 2, 3, 4, 6, 8)},
        "std",
    ),
)


@dataclass(frozen=True)
class Estimate:
    """Mean and standard deviation of a Gaussian; intervals of closed forms have length 0.

    Attributes:
        mean: The mean.
        std: The standard deviation.
        count: Number of samples, None for closed forms.
    """

    mean: Figure
    std: Figure
    count: int | None = None

    @classmethod
    def exact(cls, moments: Moments) -> "Estimate":
        """From a closed form."""
        mean, std = (Figure(value, value, value) for value in (moments.mean, moments.std))
        return cls(mean, std)

    @classmethod
    def of(cls, values: np.ndarray) -> "Estimate":
        """From samples, (N,), with 95 % bootstrap intervals."""
        mean, squares = values.mean(), (values - values.mean()) ** 2
        low, high = (bound**0.5 for bound in bootstrap_interval(squares, draws=DRAWS))
        return cls(
            Figure(float(mean), *bootstrap_interval(values, draws=DRAWS)),
            Figure(float(squares.mean() ** 0.5), low, high),
            len(values),
        )

    def error(self, moment: str, target: "Estimate") -> float:
        """Error of the "mean" or "std" as a share of the target's standard deviation."""
        return (getattr(self, moment).value - getattr(target, moment).value) / target.std.value


Row = dict[str, Estimate]


def measure(pair: GaussianPair, count: int, steps: int, generator: torch.Generator) -> Row:
    """The product's true moments, and those that each of `METHODS` reaches.

    Args:
        pair: The product.
        count: Number of independent samples.
        steps: Steps of a run.
        generator: Source of all noise.

    Raises:
        ValueError: If the product has no density, or there are not so many steps.
    """
    factors = pair.factors()
    row = {TARGET: Estimate.exact(product_moments(*factors))}
    terms = pair.terms()

    def sampled(eta: float) -> Estimate:
        # These experts treat pixels independently, so each pixel of one wide picture is a sample.
        noise = torch.randn(1, 1, 1, count, dtype=torch.float64, generator=generator)
        samples = sample_product(terms, noise, str(steps), generator=generator, eta=eta)
        return Estimate.of(samples.flatten().numpy())

    for eta, limit, names in ((0.0, ode_moments, METHODS[:2]), (1.0, sde_moments, METHODS[2:])):
        row |= zip(names, (Estimate.exact(limit(*factors)), sampled(eta)), strict=True)
    return row


def main(arguments: Sequence[str]) -> int:
    """Measure all studies and write `product_bias.csv`, `.md` and `.png`.

    Args:
        arguments: Arguments after `product-bias`.

    Raises:
        ValueError: An option is out of range, or there is something else than a folder to write to.
    """
    parser = argparse.ArgumentParser(
        prog="python -m studies evaluate product-bias",
        description="Compare the product of Gaussian densities with what sampling by their combined scores gives.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="folder to write (runs/evaluation)")
    parser.add_argument("--samples", type=int, default=4000, help="samples of each product and sampler (4000)")
    parser.add_argument("--steps", type=int, default=400, help="steps of a sampling run (400)")
    parser.add_argument("--seed", type=seed, default=0, help="seed of all noise (0)")
    options = parser.parse_args(arguments)
    for name, fewest in (("samples", FEWEST_SAMPLES), ("steps", FEWEST_STEPS)):
        if getattr(options, name) < fewest:
            raise ValueError(f"Expected --{name} of {fewest} or more and got {getattr(options, name)}; ask for more.")
    check_folder_name(options.out)

    generator = torch.Generator().manual_seed(options.seed)
    results = []
    for study in STUDIES:
        log.info("%s", study.title)
        pairs = study.pairs.items()
        results.append({value: measure(pair, options.samples, options.steps, generator) for value, pair in pairs})

    make_folder(options.out)
    path = options.out / f"{NAME}.csv"
    files = {
        path: csv_bytes(_rows(results), "\r\n"),
        path.with_suffix(".md"): _to_markdown(results, options).encode(),
        path.with_suffix(".png"): encoded(_plots(results)),
    }
    write_files(files)
    log.info("Wrote %s, .md and .png", path)
    return 0


def _rows(results: Sequence[dict[str, Row]]) -> Iterator[Sequence[object]]:
    """The figures as rows of a table, the header first."""
    header = ["study", "variable", "value", "means", "variances", "coefficients", "method", "samples"]
    for moment in ("mean", "std"):
        header += [moment, f"{moment}_low", f"{moment}_high", f"{moment}_error"]
    yield header
    for study, rows in zip(STUDIES, results, strict=True):
        for value, row in rows.items():
            factors = [" ".join(f"{x:g}" for x in numbers) for numbers in study.pairs[value].factors()]
            for method, estimate in row.items():
                figures = [
                    f"{number:.6f}"
                    for moment, figure in (("mean", estimate.mean), ("std", estimate.std))
                    for number in (figure.value, figure.low, figure.high, estimate.error(moment, row[TARGET]))
                ]
                yield [study.title, study.variable, value, *factors, method, estimate.count, *figures]


def _to_markdown(results: Sequence[dict[str, Row]], options: argparse.Namespace) -> str:
    command = f"--samples {options.samples} --steps {options.steps} --seed {options.seed}"
    lines = [
        "# Bias of the product for Gaussian experts",
        "",
        f"`python -m studies evaluate product-bias {command}`: n = {options.samples} samples of each product and "
        f"sampler, {options.steps} steps of the cosine schedule; eta = 1 is DDPM's ancestral sampling. Brackets are "
        "95 % bootstrap intervals of the sampled moment; after the semicolon stands the error as a share of the "
        "target's standard deviation. N(mean, variance).",
    ]
    for study, rows in zip(STUDIES, results, strict=True):
        lines += ["", f"## {study.title}"]
        for moment, words in (("mean", "Mean"), ("std", "Standard deviation")):
            lines += ["", f"{words}:", "", _line(study.variable, TARGET, *METHODS), "|---" * (len(METHODS) + 2) + "|"]
            lines += [_line(value, *_cells(row, moment)) for value, row in rows.items()]
    return "\n".join(lines) + "\n"


def _cells(row: Row, moment: str) -> list[str]:
    cells = [f"{getattr(row[TARGET], moment).value:.3f}"]
    for method in METHODS:
        estimate = row[method]
        figure = getattr(estimate, moment)
        shown = f"{figure.value:.3f}" if estimate.count is None else str(figure)
        cells.append(f"{shown}; {round(100 * estimate.error(moment, row[TARGET])):+d} %".replace("+0 %", "0 %"))
    return [cell.replace("-", "−") for cell in cells]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _plots(results: Sequence[dict[str, Row]]) -> Image.Image:
    """Plots of the error over the variable, for each study with `plotted`."""
    plots = []
    for study, rows in zip(STUDIES, results, strict=True):
        moment = study.plotted
        if moment is None:
            continue
        lines = {method: [row[method].error(moment, row[TARGET]) for row in rows.values()] for method in METHODS}
        reach = [value for line in lines.values() for value in line]
        words = {"mean": "mean", "std": "standard deviation"}[moment]
        panel = Panel(
            f"Error of the {words} / the product's standard deviation", lines, (min(0, *reach), max(0, *reach))
        )
        plots.append(plot_lines([panel], [int(value) for value in rows], study.variable))
    return stacked(plots)

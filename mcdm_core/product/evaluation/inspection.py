"""A run that is inspected: the experts' predictions at some of its steps, and the summands of Eq. 10, measured at all.

The measurements say how far each expert pulls, and whether the experts pull the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..rules.coefficients import Coefficient
from .evaluation import Evaluation
from .plan import Plan

MOST_SHOWN = 50  # columns of one picture
_LAST = 0
_WORDS = {"first": 1, "last": _LAST}
_EXPECTED = 'Expected how many steps to show, such as "5", or which, such as "1, 5, 10, last"'


@dataclass(frozen=True)
class Guidance:
    """Size and agreement of the experts' guidance g_i = w_i (D_i − U); NaN for experts without.

    Attributes:
        norms: ‖g_i‖/√n over the n values of a sample, that is the root mean square change of x0, in the units of x0;
            shape (B, N) for N experts.
        cosines: ⟨g_i, g_j⟩ / (‖g_i‖ ‖g_j‖), −1…1, shape (B, N, N).
    """

    norms: Tensor
    cosines: Tensor


def measure_guidance(
    cond: Sequence[Tensor | None],
    uncond: Tensor | None,
    weights: Sequence[Coefficient],
    area: Tensor | None = None,
) -> Guidance:
    """Measure the summands w_i (D_i − U) of Eq. 10.

    Args:
        cond: Each expert's x0 under its condition, D_i, shape (B, …); None where it was not asked.
        uncond: The unconditional estimate U, shape (B, …); None where the weights sum to 1 and there is none, so that
            everything is NaN. At least one prediction is given.
        weights: w_i, numbers or maps that broadcast to the sample.
        area: How much each value counts, 0…1, broadcasts to the sample; None counts all alike.

    Returns:
        The measurements, in float64 on the CPU, as not every accelerator has float64.
    """
    like = next(prediction for prediction in (*cond, uncond) if prediction is not None)
    absent = torch.full((len(like), like[0].numel()), torch.nan, dtype=torch.float64)
    flat = [
        absent if prediction is None or uncond is None else (weight * (prediction - uncond)).cpu().double().flatten(1)
        for prediction, weight in zip(cond, weights, strict=True)
    ]
    guidance = torch.stack(flat, dim=1)
    # Without U nothing is measured, and predictions of other spaces may have other shapes than the area.
    share = torch.ones_like(like) if area is None or uncond is None else area.expand_as(like)
    counted = share.cpu().double().flatten(1)[:, None]
    inner_products = (counted * guidance) @ guidance.mT / counted.sum(-1, keepdim=True)
    norms = inner_products.diagonal(dim1=1, dim2=2).sqrt()
    cosines = inner_products / (norms[:, :, None] * norms[:, None, :])
    return Guidance(norms, cosines.clamp(-1.0, 1.0))


@dataclass(frozen=True)
class StepRecord:
    """Predictions of x0 at one step, on the CPU, in the reference model's latent space.

    Attributes:
        step: Number of the step, from 1.
        sigma: Noise level at which the experts were asked.
        cond: Each expert's prediction under its condition, shape (B, C, …); None if it was not asked.
        uncond: The unconditional estimate U; None if it was not needed.
        denoised: The x0 that the sampler used: after hooks, and with the kept part of an inpainted picture.
    """

    step: int
    sigma: float
    cond: list[Tensor | None]
    uncond: Tensor | None
    denoised: Tensor


class Recording:
    """Keeps the steps to be shown, and measures the guidance at every step.

    Samplers may evaluate several times per step. Recorded is the last evaluation before the sampler reports the step,
    which is also the one in the preview: with ComfyUI's samplers the one at the step's own noise level, except with
    dpm_adaptive, which reports after its trials.

    Args:
        wanted: Numbers of the steps to show, from 1.
        total: Expected number of steps.
        noise_mask: In the shape of the samples, values 0…1; outside it guidance has no effect and isn't measured.

    Attributes:
        guidance: Measurements, by the number of the step.
        rows: For every step, in all its evaluations, the number of network rows and the number that the plain product
            would take; the latter is 0 if the run leaves no rows out.
    """

    def __init__(self, wanted: Sequence[int], total: int, noise_mask: Tensor | None):
        self.guidance: dict[int, Guidance] = {}
        self.rows: dict[int, tuple[int, int]] = {}
        self._wanted = wanted
        self._total = total
        self._noise_mask = noise_mask
        self._kept: dict[int, StepRecord] = {}
        self._last: StepRecord | None = None
        self._call: tuple[Plan, Callable[..., StepRecord]] | None = None  # kept until its step is reported
        self._rows = (0, 0)

    def observe(self, evaluation: Evaluation) -> None:
        """Record an evaluation of the product, as its observer."""
        predictions = (evaluation.cond.get(index) for index in range(len(evaluation.plan.weights)))
        cond = [None if prediction is None else _to_cpu(prediction) for prediction in predictions]
        uncond = evaluation.unconditional()
        uncond = None if uncond is None else _to_cpu(uncond)
        record = partial(StepRecord, sigma=evaluation.point.level.number, cond=cond, uncond=uncond)
        self._call = evaluation.plan, record
        self._rows = self._rows[0] + evaluation.rows, self._rows[1] + evaluation.plain_rows

    def finish_step(self, step: int, denoised: Callable[[], Tensor]) -> None:
        """Record the sampler's report of a step.

        Args:
            step: Number of the step, from 1.
            denoised: Gives the reported x0 of the reference model, one tensor of shape (B, …); called only where the
                product was evaluated since the last report.
        """
        if self._call is None:
            return
        (plan, record), self._call = self._call, None
        self.rows[step], self._rows = self._rows, (0, 0)
        weights = [weight.cpu() if isinstance(weight, Tensor) else weight for weight in plan.weights]
        last = self._last = record(step=step, denoised=_to_cpu(denoised()))
        self.guidance[step] = measure_guidance(last.cond, last.uncond, weights, self._noise_mask)
        if step in self._wanted:
            self._kept[step] = last

    def shown(self) -> list[StepRecord]:
        """The steps to show, ascending.

        A few samplers choose their number of steps: their last step is shown in place of steps that they didn't reach,
        and of the expected last.
        """
        last = self._last
        if last is not None and max(self._wanted) >= min(self._total, last.step):
            self._kept[last.step] = last
        return [self._kept[step] for step in sorted(self._kept)]


def shown_steps(text: str, total: int) -> list[int]:
    """The steps to show.

    Args:
        text: A single number says how many, spread evenly from the first to the last; a list, which may contain "first"
            and "last", says which. A comma makes a list of a single number: "5,".
        total: Number of steps of the run, at least 1.

    Returns:
        Ascending numbers, counted from 1.

    Raises:
        ValueError: If the text cannot be read, or asks for a step that the run doesn't have.
    """
    parsed = parse_shown_steps(text)
    if isinstance(parsed, int):
        count = min(parsed, total)
        return [round(1 + (total - 1) * index / (count - 1)) for index in range(count)] if count > 1 else [total]
    steps = sorted({total if entry == _LAST else entry for entry in parsed})
    if steps[-1] > total:
        raise ValueError(
            f"Expected steps to show of the {total} that sigmas has and got {steps[-1]}; lower it, or write last."
        )
    return steps


def parse_shown_steps(text: str) -> int | list[int]:
    """The number of steps, or a list of steps with `_LAST` for the last; see `shown_steps`.

    Raises:
        ValueError: If the text cannot be read; one sentence for the user.
    """
    entries = [_number(entry.strip().lower(), text) for entry in text.strip().removesuffix(",").split(",")]
    is_count = "," not in text and text.strip().isdigit()
    count = entries[0] if is_count else len(set(entries))
    if count > MOST_SHOWN:
        raise ValueError(f"{_EXPECTED}, at most {MOST_SHOWN}, and got {count}; show fewer.")
    return count if is_count else entries


def _number(entry: str, text: str) -> int:
    if entry in _WORDS:
        return _WORDS[entry]
    if not (entry.isascii() and entry.isdigit() and int(entry) > 0):
        raise ValueError(f'{_EXPECTED}, with steps counted from 1, and got "{text}"; correct it.')
    return int(entry)


def _to_cpu(x0: Tensor) -> Tensor:
    """A copy on the CPU, since samplers may change tensors in place."""
    return x0.detach().to("cpu", torch.float32, copy=True)

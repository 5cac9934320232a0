"""Recording a product's run: each expert's predictions at the steps to show, and its guidance at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ....mcdm_core.product.evaluation import Evaluation
from ....mcdm_core.product.inspection import Guidance, measure_guidance
from ....mcdm_core.product.plan import Plan
from ..chain.expert_chain import Experts
from ..comfyui.latents import fit_empty, pack, pack_mask, parts_of, with_samples
from ..run.guider import ProductGuider

MOST_SHOWN = 50  # columns of one picture
_LAST = 0
_WORDS = {"first": 1, "last": _LAST}
_EXPECTED = 'Expected how many steps to show, such as "5", or which, such as "1, 5, 10, last"'


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
        shapes: Shapes of the parts of the samples; most have one part.
        noise_mask: In the shape of the samples, values 0…1; outside it guidance has no effect and isn't measured.

    Attributes:
        guidance: Measurements, by the number of the step.
        rows: For every step, in all its evaluations, the number of network rows and the number that the plain product
            would take; the latter is 0 if the run leaves no rows out.
    """

    def __init__(self, wanted: Sequence[int], total: int, shapes: Sequence[Sequence[int]], noise_mask: Tensor | None):
        self.guidance: dict[int, Guidance] = {}
        self.rows: dict[int, tuple[int, int]] = {}
        self.shapes = shapes
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

    def finish_step(self, step: int, denoised: Tensor) -> None:
        """Record the sampler's report of a step.

        Args:
            step: Number of the step, from 1.
            denoised: The reported x0, shape (B, C, …), or nested.
        """
        if self._call is None:
            return
        (plan, record), self._call = self._call, None
        self.rows[step], self._rows = self._rows, (0, 0)
        weights = [weight.cpu() if isinstance(weight, Tensor) else weight for weight in plan.weights]
        last = self._last = record(step=step, denoised=_to_cpu(pack(parts_of(denoised))))
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


def sample_recorded(
    experts: Experts, noise: Any, sampler: Any, sigmas: Tensor, latent: dict[str, Any], shown: str
) -> tuple[dict[str, Any], Recording]:
    """Sample as SamplerCustomAdvanced does with the product's guider, and record it.

    Args:
        experts: The chain.
        noise: ComfyUI's NOISE.
        sampler: ComfyUI's SAMPLER.
        sigmas: Descending noise levels, shape (S + 1,).
        latent: ComfyUI's LATENT, with its noise mask if there is one.
        shown: Which steps to show, see `shown_steps`.

    Returns:
        The LATENT with new samples, and the recording.

    Raises:
        ValueError: If the experts cannot be combined or the steps cannot be shown, before any network is called; or if
            the sampler reports no step.
    """
    patcher = experts[0].model
    total = len(sigmas) - 1
    if total < 1:
        raise ValueError("Expected sigmas with at least one step to inspect and got none; raise denoise.")
    latent_image = fit_empty(patcher, latent)
    latent = {**latent, "samples": latent_image}
    given_mask = latent.get("noise_mask")
    shapes = [part.shape for part in parts_of(latent_image)]
    noise_mask = None if given_mask is None else pack_mask(given_mask, shapes, torch.device("cpu"))
    recording = Recording(shown_steps(shown, total), total, shapes, noise_mask)
    preview = latent_preview.prepare_callback(patcher, total)

    def report(step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
        recording.finish_step(step + 1, x0)
        preview(step, x0, x, total_steps)

    guider = ProductGuider(experts, recording.observe)
    result = guider.sample(
        noise.generate_noise(latent),
        latent_image,
        sampler,
        sigmas,
        denoise_mask=given_mask,
        callback=report,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=noise.seed,
    )
    if not recording.guidance:
        raise ValueError(
            "Expected a sampler that reports its steps, as all of ComfyUI's do, and got one that doesn't; choose "
            "another."
        )
    return with_samples(latent, result), recording


def _to_cpu(x0: Tensor) -> Tensor:
    """A copy on the CPU, since samplers may change tensors in place."""
    return x0.detach().to("cpu", torch.float32, copy=True)

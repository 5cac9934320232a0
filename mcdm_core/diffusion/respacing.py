"""Sampling on fewer timesteps than the network was trained on (Nichol & Dhariwal, "Improved DDPM", 2021)."""

from collections.abc import Sequence
from itertools import accumulate, repeat

import torch

Spacing = str | int | Sequence[int]


def space_timesteps(spacing: Spacing, steps: int = 1000) -> list[int]:
    """Choose timesteps.

    Args:
        spacing: "100": evenly from the first timestep to the last. "10,10,3,2,2" (or a list of numbers): that many in
            each of as many equal sections. "ddim100": with one integer stride from 0 on. "fast27": GLIDE's choice for
            its upsampler.
        steps: Number of timesteps T of the original schedule.

    Returns:
        Ascending timesteps within 0…T−1.

    Raises:
        ValueError: If the spacing cannot be read, or has more timesteps than there are.
    """
    if isinstance(spacing, str) and spacing.startswith("ddim"):
        count, *others = _counts(spacing.removeprefix("ddim"), spacing)
        if others:
            raise _unreadable(spacing)
        return _strided(count, steps)
    if spacing == "fast27":
        return [*space_timesteps("10,10,3,2,2", steps)[:-1], steps - 3]
    counts = _counts(spacing, spacing)
    if not all(isinstance(count, int) for count in counts):
        raise ValueError(
            f"Expected a whole number of timesteps for each section and got {spacing!r}; for noise levels of your own, "
            "call a sampler of `SAMPLERS` with a `ProductDenoiser`, within its `running`."
        )
    if not counts or min(counts) < 1:
        raise ValueError(f'Expected at least one timestep in each section and got {spacing!r}; use for example "100".')

    chosen, first = [], 0
    for section, count in enumerate(counts):
        size = steps // len(counts) + (section < steps % len(counts))
        if count > size:
            raise ValueError(
                f"Expected at most {size} timesteps in a section of {size} and got {count}; ask for fewer."
            )
        stride = (size - 1) / (count - 1) if count > 1 else 1
        chosen += [first + round(offset) for offset in accumulate(repeat(stride, count - 1), initial=0.0)]
        first += size
    return chosen


def timesteps_of_run(spacing: Spacing, steps: int) -> list[int]:
    """The timesteps that a run is sampled at: those of `space_timesteps`, where one alone is the last of the schedule.

    There the published code has the first, whose sample is a picture already; a run begins with noise alone.
    """
    timesteps = space_timesteps(spacing, steps)
    return timesteps if len(timesteps) > 1 else [steps - 1]


def _counts(given: Spacing, spacing: Spacing) -> list[int]:
    """What is given as numbers; `spacing` is that of messages."""
    try:
        if isinstance(given, str):
            return [int(part) for part in given.split(",")]
        return torch.as_tensor(given).flatten().tolist()
    except (TypeError, ValueError, RuntimeError):
        raise _unreadable(spacing) from None


def _unreadable(spacing: Spacing) -> ValueError:
    return ValueError(
        f'Expected a timestep spacing such as "100", "ddim100", "fast27" or "10,10,3,2,2" and got {spacing!r}.'
    )


def _strided(count: int, steps: int) -> list[int]:
    for stride in range(1, steps + 1):
        timesteps = list(range(0, steps, stride))
        if len(timesteps) == count:
            return timesteps
    instead = f'"{count}" without "ddim", or another number' if 1 <= count <= steps else f"1 to {steps}"
    raise ValueError(f"No integer stride chooses {count} of {steps} timesteps; use {instead}.")

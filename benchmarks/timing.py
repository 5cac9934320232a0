"""Timing of sampling steps, runs of the contenders interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import comfy.samplers
import torch
from torch import Tensor, nn

WARM_UP = 8  # height and width of the latents that a run begins with


class Span(NamedTuple):
    """Seconds that something took, by the clock on the wall and of this process's processor time."""

    wall: float
    cpu: float

    @classmethod
    def median(cls, spans: list[Span]) -> Span:
        """Entry by entry."""
        return cls(*(median(column) for column in zip(*spans, strict=True)))


class Stopwatch:
    """Measures a `with` block, work that it leaves on the device included."""

    span: Span

    def __init__(self, device: torch.device):
        self._device = device

    def __enter__(self) -> Stopwatch:
        self._start = self._now()
        return self

    def __exit__(self, *_: Any) -> None:
        wall, cpu = self._now()
        self.span = Span(wall - self._start.wall, cpu - self._start.cpu)

    def _now(self) -> Span:
        if self._device.type != "cpu":
            getattr(torch, self._device.type).synchronize()
        return Span(time.perf_counter(), time.process_time())


@dataclass
class Run:
    """One sampling run.

    Attributes:
        start: What it does once.
        steps: Each step.
        sampled: What came of it, shape of the latents.
    """

    start: Span
    steps: list[Span] = field(default_factory=list)
    sampled: Tensor | None = None

    @property
    def step(self) -> Span:
        """The median step."""
        return Span.median(self.steps)


def sample(
    guider: Any,
    latent: int | Sequence[int],
    steps: int,
    at_end: Callable[[], None] | None = None,
    before_step: Callable[[int], None] | None = None,
) -> Run:
    """Sample with Euler and time it.

    Args:
        guider: A GUIDER.
        latent: Shape of the latents; or height and width of those of SD1.5.
        steps: Number of timed steps.
        at_end: Called before the run is over.
        before_step: Called with the number of a step, from 0, before that is timed.
    """
    device = guider.model_patcher.load_device
    result: Run | None = None

    def euler(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict, **_: Any) -> Tensor:
        nonlocal result
        # What a run does once, patching the weights of clones say, is done in a step too small to count. Samples of
        # several latent spaces, one long vector each, can't be made smaller.
        with Stopwatch(device) as watch:
            if x.ndim > 3:
                model(x[..., :WARM_UP, :WARM_UP], sigmas[:1], **extra_args)
        result = Run(watch.span)
        for number, (sigma, following) in enumerate(pairwise(sigmas)):
            if before_step is not None:
                before_step(number)
            with Stopwatch(device) as watch:
                denoised = model(x, sigma.expand(len(x)), **extra_args)
                x = denoised + (following / sigma) * (x - denoised)
            result.steps.append(watch.span)
        if at_end is not None:
            at_end()
        return x

    shape = (1, 4, latent, latent) if isinstance(latent, int) else tuple(latent)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    schedule = guider.model_patcher.get_model_object("model_sampling")
    # The first half of a schedule, then to the end: windows that begin there stay closed.
    sigmas = comfy.samplers.calculate_sigmas(schedule, "normal", 2 * steps)[: steps + 1]
    sigmas[-1] = 0.0
    sampler = comfy.samplers.KSAMPLER(euler)
    sampled = guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=1)
    result.sampled = sampled
    return result


def interleaved(contenders: dict[str, Callable[[], Any]], rounds: int) -> Iterator[dict[str, Any]]:
    """Call every contender once a round and yield the round's results by name.

    Rounds begin with another contender each and go backwards every other time, so that none always comes after the
    same one, whose freed memory it would find.
    """
    names = list(contenders)
    for number in range(rounds):
        turn = number // 2 % len(names)
        order = names[turn:] + names[:turn]
        yield {name: contenders[name]() for name in order[:: -1 if number % 2 else 1]}


class NetworkCalls:
    """The network calls of one step, to be made again by themselves.

    Args:
        step: Samples a step with `sample`, whose `before_step` is what it is given: calls before that don't count.
        networks: The modules whose calls count.
        device: Where they are.
    """

    def __init__(
        self, step: Callable[[Callable[[int], None]], Any], networks: Sequence[nn.Module], device: torch.device
    ):
        self._device = device
        self._calls: list[tuple[nn.Module, tuple, dict]] = []

        def keep(network: nn.Module, args: tuple, kwargs: dict) -> None:
            self._calls.append((network, args, kwargs))

        handles = [network.register_forward_pre_hook(keep, with_kwargs=True) for network in networks]
        try:
            step(lambda number: self._calls.clear())
        finally:
            for handle in handles:
                handle.remove()

    def repeat(self) -> Span:
        """Time of the calls, one after the other and nothing between them."""
        with Stopwatch(self._device) as watch:
            for network, args, kwargs in self._calls:
                network(*args, **kwargs)
        return watch.span

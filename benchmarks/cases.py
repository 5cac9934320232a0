"""What is measured. Every case compares two things in interleaved runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import comfy.latent_formats
import comfy.samplers
import comfy.sd
from comfy.model_patcher import ModelPatcher
from torch import nn

from .intervals import Interval, difference, ratio
from .memory import Allocations, live_bytes
from .networks import Size, conditioning, network, tiny_vae, with_lora, without_network
from .timing import WARM_UP, NetworkCalls, Span, interleaved, sample

RUN = 20  # steps of the run over which what is done once is shared out
EXPERTS = (1, 2, 4)
_LARGER = 1.5  # width and latents' side of SDXL's stand-in over those of SD1.5's
_GROUPS = 32  # of group normalization, by which widths are divisible
WEIGHT, WEIGHT_WITHOUT_NULL = 3.5, 0.5  # two experts at 0.5 add up to 1, where no null is needed


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        size: The networks and latents.
        rounds: How often each contender runs.
        steps: Timed steps of each run.
    """

    size: Size
    rounds: int
    steps: int


class Result(NamedTuple):
    """One line of the table.

    Attributes:
        name: What is compared.
        unit: Of the figures.
        figures: By the wall clock and by processor time; a single one where it is not about time.
    """

    name: str
    unit: str
    figures: tuple[Interval, ...]


class Guiders:
    """Makes GUIDERs of this pack and of core on the same conditionings.

    Args:
        node: Runs one of the pack's nodes.
        size: Of the networks.
    """

    def __init__(self, node: Callable[..., tuple], size: Size):
        self._node = node
        self._null = conditioning(size, 0)
        self._conditions = [conditioning(size, seed) for seed in range(1, 1 + max(EXPERTS))]

    def core(self, model: ModelPatcher) -> Any:
        """Core's CFGGuider."""
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(self._conditions[0], self._null)
        guider.set_cfg(WEIGHT)
        return guider

    def product(
        self,
        models: Sequence[ModelPatcher],
        weight: float = WEIGHT,
        last_start: float = 0.0,
        vaes: Sequence[comfy.sd.VAE] = (),
    ) -> Any:
        """Product Guider.

        Args:
            models: One expert each.
            weight: Of every expert.
            last_start: Start of the last expert's window; the others act all the time.
            vaes: One for each expert, where they are of several latent spaces.
        """
        chain: tuple = ()
        starts = [0.0] * (len(models) - 1) + [last_start]
        without = [None] * len(models)
        for model, condition, start, vae in zip(models, self._conditions, starts, vaes or without, strict=False):
            wired = {"model": model, "condition": condition, "null": self._null, "experts": chain, "vae": vae}
            (chain,) = self._node("MCDM_Expert", **wired, weight=weight, reliability=1.0, start=start, end=1.0)
        return self._node("MCDM_Guider", experts=chain)[0]


def overhead(guiders: Guiders, plan: Plan) -> Iterator[Result]:
    """Time per step outside the networks, against core's."""
    models = [without_network(plan.size) for _ in range(max(EXPERTS))]
    contenders = {"core": guiders.core(models[0])}
    contenders |= {str(n): guiders.product(models[:n]) for n in EXPERTS}
    rounds = _steps(contenders, plan)
    yield compared("core's CFGGuider, no network", "ms", difference, _scaled(rounds["core"], 1e3), None)
    for n in EXPERTS:
        ours, cores = (_scaled(rounds[name], 1e3 / n) for name in (str(n), "core"))
        yield compared(f"{n} expert{'s' * (n > 1)} − core, no network", "ms per expert", difference, ours, cores)


def networks(guiders: Guiders, plan: Plan) -> Iterator[Result]:
    """Steps of two experts against what they need: files of their own, and clones of one checkpoint.

    One row per expert and step: the shorter the calls, the more weighs what comes on top.
    """
    first, second = network(plan.size, 1), network(plan.size, 2)
    pair = guiders.product([first, with_lora(second, 3)], weight=WEIGHT_WITHOUT_NULL)
    pair_of_clones = guiders.product([first, with_lora(first, 3)], weight=WEIGHT_WITHOUT_NULL)
    calls = _calls_of(pair, plan, [model.model.diffusion_model for model in (first, second)])
    contenders = {
        "copies": lambda: sample(pair, plan.size.latent, plan.steps),
        "calls": lambda: Span.median([calls.repeat() for _ in range(plan.steps)]),
        "clones": lambda: sample(pair_of_clones, plan.size.latent, plan.steps),
    }
    rounds = list(interleaved(contenders, plan.rounds))
    copied, cloned = ([each[name].step for each in rounds] for name in ("copies", "clones"))
    yield compared("2 experts / their network calls", "ratio", ratio, copied, [each["calls"] for each in rounds])
    yield compared("LoRA-clone pair / copied-file pair", "ratio", ratio, cloned, copied)
    runs = ([_whole(each[name]) for each in rounds] for name in ("clones", "copies"))
    yield compared(f"the same, a run of {RUN} steps with all that it does once", "ratio", ratio, *runs)


def adapters(guiders: Guiders, plan: Plan) -> Iterator[Result]:
    """Steps of a checkpoint and its clone with a LoRA against as many rows of the checkpoint alone."""
    plain = network(plan.size, 1)
    clone = with_lora(plain, 3)
    pairs = {"clones": [plain, clone], "plain": [plain, plain]}
    contenders = {name: guiders.product(models, weight=WEIGHT_WITHOUT_NULL) for name, models in pairs.items()}
    rounds = _steps(contenders, plan)
    yield compared(
        "LoRA-clone pair / as many rows of its plain network", "ratio", ratio, rounds["clones"], rounds["plain"]
    )
    yield _memory(guiders.product([plain, plain]), contenders["clones"], clone)


def window(guiders: Guiders, plan: Plan) -> Iterator[Result]:
    """An expert outside its window against one that is not there."""
    models = [network(plan.size, seed) for seed in (1, 2)]
    contenders = {"core": guiders.core(models[0]), "product": guiders.product(models, last_start=0.999)}
    rounds = _steps(contenders, plan)
    yield compared("2 experts, one outside its window / core", "ratio", ratio, rounds["product"], rounds["core"])


def spaces(guiders: Guiders, plan: Plan) -> Iterator[Result]:
    """Steps of two experts of two latent spaces, each with a null, against what they need: networks and tiny VAEs.

    The first has a wider network and, at full size, larger pictures, as SDXL has beside SD1.5. Also what the VAEs take
    of that; and the peak memory of a run on the CPU, weights and all, over that of the first alone, as core samples it.
    """
    size = replace(
        plan.size,
        channels=_GROUPS * math.ceil(_LARGER * plan.size.channels / _GROUPS),
        latent=int(_LARGER * plan.size.latent),
    )
    models = [network(size, 1, comfy.latent_formats.SDXL()), network(plan.size, 2)]
    plan = replace(plan, size=size)
    vaes = [tiny_vae(plan.size, seed) for seed in (1, 2)]
    guider = guiders.product(models, vaes=vaes)
    networks = [model.model.diffusion_model for model in models]
    coders = [coder for vae in vaes for coder in vae.first_stage_model.children()]
    calls = {"all": _calls_of(guider, plan, [*networks, *coders]), "networks": _calls_of(guider, plan, networks)}
    contenders: dict[str, Callable[[], Span]] = {"step": lambda: sample(guider, plan.size.latent, plan.steps).step}
    for name, called in calls.items():
        contenders[name] = lambda called=called: Span.median([called.repeat() for _ in range(plan.steps)])
    rounds = list(interleaved(contenders, plan.rounds))
    steps, needed, passes = ([each[name] for each in rounds] for name in contenders)
    yield compared("2 experts of 2 latent spaces / their network and VAE calls", "ratio", ratio, steps, needed)
    yield compared("network and VAE calls of both / network calls alone", "ratio", ratio, needed, passes)
    if models[0].load_device.type == "cpu":  # elsewhere what is moved there would count once more
        held = _peak(guider, plan, [*models, *(vae.patcher for vae in vaes)])
        alone = _peak(guiders.core(models[0]), plan, models[:1])
        yield Result("peak memory of both / of the larger network alone", "ratio", (Interval.exact(held / alone),))


CASES: dict[str, Callable[[Guiders, Plan], Iterator[Result]]] = {
    "overhead": overhead,
    "networks": networks,
    "adapters": adapters,
    "window": window,
    "spaces": spaces,
}


def _calls_of(guider: Any, plan: Plan, networks: Sequence[nn.Module]) -> NetworkCalls:
    def step(begin: Callable[[int], None]) -> None:
        sample(guider, plan.size.latent, steps=1, before_step=begin)

    return NetworkCalls(step, networks, guider.model_patcher.load_device)


def _steps(guiders: dict[str, Any], plan: Plan) -> dict[str, list[Span]]:
    return steps_of(guiders, plan.size.latent, plan.rounds, plan.steps)


def steps_of(guiders: dict[str, Any], latent: int | Sequence[int], rounds: int, steps: int) -> dict[str, list[Span]]:
    """Each guider's median step in every round, after a round that does not count.

    Args:
        guiders: By name.
        latent: See `sample`.
        rounds: How often each runs.
        steps: Timed steps of each run.
    """
    contenders = {name: lambda guider=guider: sample(guider, latent, steps).step for name, guider in guiders.items()}
    _, *counted = interleaved(contenders, rounds + 1)
    return {name: [each[name] for each in counted] for name in guiders}


def compared(name: str, unit: str, how: Callable, first: list[Span], second: list[Span] | None) -> Result:
    """A line: what `how` says of two columns of times, by either clock; of the first alone where there is no second."""
    second = second or [Span(0.0, 0.0)] * len(first)
    clocks = zip(zip(*first, strict=True), zip(*second, strict=True), strict=True)
    return Result(name, unit, tuple(how(a, b) for a, b in clocks))


def _scaled(spans: list[Span], factor: float) -> list[Span]:
    return [Span(*(factor * seconds for seconds in span)) for span in spans]


def _whole(run: Any) -> Span:
    return Span(*(once + RUN * step for once, step in zip(run.start, run.step, strict=True)))


def _peak(guider: Any, plan: Plan, loaded: Sequence[ModelPatcher]) -> int:
    """Bytes of what is loaded, and the most that a step makes on top."""
    with Allocations() as allocations:
        sample(guider, plan.size.latent, steps=1)
    return allocations.peak + sum(patcher.model_size() for patcher in loaded)


def _memory(plain: Any, cloned: Any, clone: ModelPatcher) -> Result:
    """What a run of clones holds beside what one of the plain checkpoint alone holds, over the LoRA as it is used."""
    held = []
    for guider in (plain, cloned):
        sample(guider, WARM_UP, 1, lambda: held.append(live_bytes()))
    dtype = clone.model.manual_cast_dtype or clone.model_dtype()
    loras = [lora for patches in clone.patches.values() for _, lora, *_ in patches]
    size = dtype.itemsize * sum(factor.numel() for lora in loras for factor in lora.weights[:2])
    share = (held[1] - held[0]) / size
    return Result("LoRA-clone pair: extra memory / its LoRA", "ratio", (Interval.exact(share),))

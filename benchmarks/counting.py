"""What a step asks of a device, counted on the accelerator of the tests: how often it computes, waits and copies."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import comfy.model_management
from torch import nn

from tests.accelerator import Counts, counted

SHORT, LONG = 8, 12  # steps of two runs, in whose difference what a run does once drops out
STEPS = LONG - SHORT


@dataclass(frozen=True)
class Asked:
    """What `STEPS` steps asked of a device.

    Attributes:
        counts: All of it; `peak` is that of the longer run, with weights.
        in_networks: Number of operations that their calls of networks take by themselves.
        rows: Number of rows that networks were asked.
    """

    counts: Counts
    in_networks: int
    rows: int


def asked(
    prepare: Callable[[int], Callable[[], Any]], networks: Sequence[nn.Module], vaes: Sequence[nn.Module]
) -> Asked:
    """Count steps.

    Args:
        prepare: Makes ready a run of so many steps, always the same but for that; what it returns samples it.
        networks: The modules whose calls are told from all else.
        vaes: Others, whose rows don't count.
    """
    comfy.model_management.unload_all_models()
    gc.collect()
    prepare(1)()  # loads what later runs find loaded
    counts, calls = [], []
    for steps in (SHORT, LONG):
        sample = prepare(steps)
        with _Calls([*networks, *vaes]) as made, counted() as found:
            sample()
        counts.append(found)
        calls.append(made)
    number, rows = calls[1].number - calls[0].number, calls[1].rows - calls[0].rows
    in_networks = sum(number[module] * _operations_of(calls[1].last[module]) for module in number)
    return Asked(counts[1] - counts[0], in_networks, sum(rows[network] for network in networks))


def _operations_of(call: Callable[[], Any]) -> int:
    """Those of a call by itself, whose number doesn't depend on its rows."""
    with counted() as found:
        call()
    return found.operations.total()


class _Calls:
    """The calls of modules within a `with` block.

    Attributes:
        number: By module.
        rows: Those of all calls, likewise.
        last: Makes the last call once more, likewise.
    """

    def __init__(self, modules: Sequence[nn.Module]):
        self._modules = modules
        self._hooks = ExitStack()
        self.number: Counter[nn.Module] = Counter()
        self.rows: Counter[nn.Module] = Counter()
        self.last: dict[nn.Module, Callable[[], Any]] = {}

    def __enter__(self) -> _Calls:
        for module in self._modules:
            self._hooks.callback(module.register_forward_pre_hook(self._keep, with_kwargs=True).remove)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hooks.close()

    def _keep(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.number[module] += 1
        self.rows[module] += len(args[0])
        self.last[module] = lambda: module(*args, **kwargs)

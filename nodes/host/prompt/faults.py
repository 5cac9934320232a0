"""Mistakes in a queued prompt, and how checks find them by the functions that a run is checked with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from .queued_prompt import QueuedNode


class Fault(NamedTuple):
    """A mistake at a node of a prompt.

    Attributes:
        input: The input that is at fault, connected or not.
        sentence: For the user.
        at: The node's id, if it isn't the node that was checked.
        cause: The id of a node that this may follow from: it isn't told if that node is at fault, too.
    """

    input: str
    sentence: str
    at: str | None = None
    cause: str | None = None


Trial = Callable[[], object]
"""Raises ValueError if something is wrong."""

Check = Callable[[QueuedNode], "Fault | None"]
"""From a node of the prompt to what is wrong with it; None also if that cannot be known."""


def fault_of(name: str, trial: Trial) -> Fault | None:
    """The fault of an input, if a trial of it raises ValueError."""
    try:
        trial()
    except ValueError as error:
        return Fault(name, str(error))
    return None


def first_fault(trials: Iterable[tuple[str, Trial]]) -> Fault | None:
    """The fault of the first input whose trial fails.

    Args:
        trials: Names of inputs, each with a trial.
    """
    return next(filter(None, (fault_of(name, trial) for name, trial in trials)), None)


def check_value(node: QueuedNode, name: str, read: Callable[[Any], object]) -> Fault | None:
    """Whether a value can be used; `read` raises ValueError if not.

    A linked value is not known yet, and ComfyUI refuses a missing one itself.
    """
    value = node.inputs.get(name)
    return None if value is None or isinstance(value, list) else fault_of(name, partial(read, value))

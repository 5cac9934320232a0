"""A chain of experts as far as a queued prompt shows it, for the functions that check the chain of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from ....mcdm_core.conditions import Encoder
from ....mcdm_core.product.methods.method import Setting
from ....mcdm_core.product.methods.registry import SETTINGS
from ....mcdm_core.product.span import Span
from ....mcdm_core.product.term_settings import NUMBERS, TermSettings
from ..files.expert_folders import inspect_expert, picture_size, vae_key
from .queued_prompt import QueuedNode, once_a_prompt

SETTING_NODES = {f"MCDM_{kind.name}": kind for kind in SETTINGS}
"""Nodes that set something of a method."""

WORKER_NODE = "MCDM_ExpertRemote"
_EXPERTS = ("MCDM_Expert", WORKER_NODE)
_SCHEDULE = "MCDM_Schedule"
_CHAINED = (*_EXPERTS, _SCHEDULE, *SETTING_NODES)
_UNSCHEDULED = {"sigma_start": 0.0, "sigma_end": 0.0}  # an expert's noise levels without Expert Schedule
_NUMBERS = tuple(name for name in NUMBERS if name != "weight_curve")  # the settings that are single numbers


@dataclass(frozen=True)
class Name:
    """How messages about a queued prompt name an expert: by the title that the user gave it, or else by its place.

    Attributes:
        title: The title; may be empty.
        place: In the chain, from 1; None where it isn't known, on the expert itself.
    """

    title: str
    place: int | None = None

    @property
    def label(self) -> str:
        """The name within a sentence."""
        return f'"{self.title}"' if self.title else self._untitled

    @property
    def subject(self) -> str:
        """The name at the beginning of a sentence."""
        return self.title or self._untitled.capitalize()

    @property
    def _untitled(self) -> str:
        return "this expert" if self.place is None else f"expert {self.place}"


@dataclass(frozen=True, kw_only=True)
class QueuedExpert(TermSettings):
    """An expert as a prompt shows it, in the place of a run's `ExpertInput`.

    Attributes:
        name: How messages name the expert, see `Name`.
        has_null: False where it certainly has none.
    """

    name: Name
    has_null: bool

    @property
    def label(self) -> str:
        """The expert's name in messages."""
        return self.name.label

    @property
    def subject(self) -> str:
        """The expert's name at the beginning of a sentence."""
        return self.name.subject


class QueuedChain:
    """The chain wired to a node; empty if part of it comes from an unknown node, or the nodes form a ring.

    Args:
        nodes: Its nodes, from its end.

    Attributes:
        experts: The experts' nodes, the reference's first, with the settings of Expert Schedule among their inputs.
        settings: Those of methods, by their kind; None for one that can't be known or used.
    """

    def __init__(self, nodes: Sequence[QueuedNode]):
        self.experts: list[QueuedNode] = []
        self.settings: dict[type[Setting], Setting | None] = {}
        scheduled: dict[str, Any] = {}
        for node in nodes:  # of two of a kind, the one nearer to the end counts
            if node.class_type in _EXPERTS:
                self.experts.insert(0, replace(node, inputs={**_UNSCHEDULED, **node.inputs, **scheduled}))
                scheduled = {}
            elif node.class_type == _SCHEDULE:
                scheduled = scheduled or {name: value for name, value in node.inputs.items() if name != "experts"}
            elif (kind := SETTING_NODES[node.class_type]) not in self.settings:
                self.settings[kind] = _setting(kind, node)

    @cached_property
    def always(self) -> tuple[QueuedExpert, ...]:
        """The experts, if all of their settings are known and all act everywhere and all the time; else none."""
        if not all(map(_acts_always, self.experts)):
            return ()
        with suppress(ValueError):  # the check of the expert's own node says so
            return tuple(
                QueuedExpert(name=name, has_null=not _lacks_null(node), **node.numbers(_NUMBERS))
                for name, node in zip(self.names, self.experts, strict=True)
            )
        return ()

    @property
    def names(self) -> list[Name]:
        """Each expert's name in messages."""
        return names_of(self.experts)

    @property
    def weights(self) -> list[tuple[str, float]]:
        """Each expert's name in messages and its weight, 1 if another node makes it; empty if an expert has a curve."""
        if any(node.inputs.get("weight_curve") for node in self.experts):
            return []
        weights = [node.numbers(["weight"]).get("weight", 1.0) for node in self.experts]
        return [(name.label, weight) for name, weight in zip(self.names, weights, strict=True)]

    @property
    def windows(self) -> list[tuple[float, float]]:
        """Each expert's window, in progress of the sampling; empty if another node makes one of the numbers."""
        spans = [node.numbers(("start", "end")) for node in self.experts]
        return [(of["start"], of["end"]) for of in spans] if all(len(of) == 2 for of in spans) else []

    @cached_property
    def spaces(self) -> list[str | None]:
        """For each expert what it works on, see `space_behind`."""
        return [space_behind(node) for node in self.experts]

    @property
    def places(self) -> list[int] | None:
        """For each expert the number of its space, from 0; None if that cannot be known.

        Without any VAE they have to be of one space.
        """
        if None not in self.spaces:
            order = [*dict.fromkeys(self.spaces)]
            return [order.index(space) for space in self.spaces]
        may_differ = len(self.experts) > 1 and any("vae" in node.inputs for node in self.experts)
        return None if may_differ else [0] * len(self.experts)


def names_of(experts: Sequence[QueuedNode]) -> list[Name]:
    """The names of a product's experts in messages; a title that several have tells none of them."""
    titles = Counter(node.title for node in experts)
    return [Name(node.title if titles[node.title] == 1 else "", n) for n, node in enumerate(experts, start=1)]


def ends_of(expert: QueuedNode) -> list[QueuedNode]:
    """The nodes that a chain with an expert is wired to, such as guiders; without those that nothing needs."""
    found: dict[QueuedNode, None] = {}
    passed: set[QueuedNode] = set()
    waiting = expert.users("experts")
    while waiting:
        node, *waiting = waiting
        if node.class_type not in _CHAINED:
            found[node] = None
        elif node not in passed:
            passed.add(node)
            waiting += node.users("experts")
    needed = {node for nodes in expert.prompt.needed.values() for node in nodes}
    return [node for node in found if node in needed]


def chain_of(node: QueuedNode | None) -> QueuedChain:
    """The chain that is wired to a node; built once a prompt."""
    end = node.source("experts") if node is not None else None
    return once_a_prompt(("chain", end), lambda: QueuedChain(_nodes_of_chain(end)))


def _nodes_of_chain(end: QueuedNode | None) -> list[QueuedNode]:
    found: dict[QueuedNode, None] = {}
    node = end
    while node is not None and node not in found and node.class_type in _CHAINED:
        found[node] = None
        if "experts" not in node.inputs:
            return [*found]
        node = node.source("experts")
    return []


def models_behind(node: QueuedNode) -> list[QueuedNode]:
    """The nodes that a node's MODEL comes through, such as LoRAs and patches, its loader last; empty if unknown."""
    found: dict[QueuedNode, None] = {}
    while (source := node.source("model")) is not None and source not in found:
        found[source] = None
        node = source
    return [*found] if "model" not in node.inputs else []


def loader_of(node: QueuedNode) -> QueuedNode | None:
    """The node that loads a node's MODEL."""
    return next(reversed(models_behind(node)), None)


def expert_file(loader: QueuedNode | None) -> str | None:
    """The file that Load Diffusion Expert loads; None if it isn't that node."""
    name = loader.inputs.get("expert_name") if loader is not None and loader.class_type == "MCDM_LoadExpert" else None
    return name if isinstance(name, str) else None


def space_behind(node: QueuedNode) -> str | None:
    """What the MODEL of a node works on, as messages call it; None unless it is a usable expert of this pack."""
    return _unless_refused(_space, expert_file(loader_of(node)))


def encoder_of(loader: QueuedNode | None) -> Encoder | None:
    """The encoder of the file that Load Diffusion Expert loads; None if it isn't that node."""
    return _unless_refused(inspect_expert, expert_file(loader))


def _setting(kind: type[Setting], node: QueuedNode) -> Setting | None:
    names = [each.name for each in fields(kind)]
    numbers = node.numbers(names)
    with suppress(ValueError):  # the node's own check says so
        if all(name in numbers or name not in node.inputs for name in names):
            return kind(**numbers)
    return None


def _acts_always(expert: QueuedNode) -> bool:
    """Whether all settings of an expert are known, and it has no mask, no window and no weight curve."""
    numbers = expert.numbers(_NUMBERS)
    is_whole = len(numbers) == len(_NUMBERS) and all(numbers[each.name] == each.default for each in fields(Span))
    return is_whole and "mask" not in expert.inputs and not expert.inputs.get("weight_curve")


def _lacks_null(expert: QueuedNode) -> bool:
    """Whether an expert certainly lacks a null; not one that is unconditional, or of which nothing is known."""
    if "null" in expert.inputs:
        return False
    loader = loader_of(expert)
    encoder = encoder_of(loader)
    is_checkpoint = loader is not None and loader.class_type == "CheckpointLoaderSimple"
    return is_checkpoint or (encoder is not None and encoder.kind != "none")


def _space(file: str) -> str:
    key = vae_key(file)
    if key is not None:
        return f"latents of the VAE {key}"
    side = picture_size(file)
    return f"pictures of {side}×{side} pixels"


def _unless_refused(read: Callable[[str], Any], file: str | None) -> Any:
    """The result of reading an expert's file; None if the file is unknown, or unusable, which its loader refuses."""
    try:
        return read(file) if file is not None else None
    except ValueError:
        return None

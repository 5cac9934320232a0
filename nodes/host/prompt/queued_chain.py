"""A chain of experts as far as a queued prompt shows it, for the functions that check the chain of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from ....mcdm_core.conditions import Encoder
from ....mcdm_core.product.methods.method import Setting
from ....mcdm_core.product.terms.term_numbers import NUMBERS, TermError, TermNumbers
from ..chain.node_ids import CHOOSE, EXPERT, EXPERT_REMOTE, LOAD_EXPERT, PRODUCT_MODEL, SCHEDULE, SETTING_NODES
from ..chain.titles import telling
from ..files.expert_folders import inspect_expert, metadata_of
from ..spaces.refusals import InSpace
from .faults import Fault, Trial
from .queued_prompt import QueuedNode, current_prompt

_EXPERTS = (EXPERT, EXPERT_REMOTE)
_UNSCHEDULED = {"sigma_start": 0.0, "sigma_end": 0.0}  # an expert's noise levels without Schedule (Expert)
_NUMBERS = tuple(name for name in NUMBERS if name != "weight_curve")  # those that are no curve

CHAINED = (*_EXPERTS, SCHEDULE, *SETTING_NODES)
"""The nodes that take a chain and give one. Behind any other node that gives one, nothing of the chain is known."""


class Name(NamedTuple):
    """How messages about a queued prompt name an expert.

    Attributes:
        label: Within a sentence.
        subject: At the beginning of one.
    """

    label: str
    subject: str


def expert_file(loader: QueuedNode | None) -> str | None:
    """The file that Load Diffusion Expert loads; None if it isn't that node."""
    name = loader.inputs.get("expert_name") if loader is not None and loader.class_type == LOAD_EXPERT else None
    return name if isinstance(name, str) else None


def encoder_of(loader: QueuedNode | None) -> Encoder | None:
    """The encoder of the file that Load Diffusion Expert loads; None if it isn't that node."""
    return _unless_refused(inspect_expert, expert_file(loader))


def _unless_refused(read: Callable[[str], Any], file: str | None) -> Any:
    """The result of reading an expert's file; None if the file is unknown, or unusable, which its loader refuses."""
    try:
        return read(file) if file is not None else None
    except ValueError:
        return None


def name_of(title: str, untitled: str = "this expert") -> Name:
    """An expert's name: by the title that the user gave it, or, where that is empty, by these words."""
    return Name(f'"{title}"', title) if title else Name(untitled, untitled.capitalize())


@dataclass(frozen=True, kw_only=True)
class QueuedTerm(TermNumbers):
    """An expert's numbers as a queued prompt shows them; a run has a `WiredTerm` in its place, the core a `Term`.

    Attributes:
        name: What messages call the expert.
        has_null: False where it certainly has none.
    """

    name: Name
    has_null: bool = True

    @property
    def label(self) -> str:
        """The expert's name in messages."""
        return self.name.label

    @property
    def subject(self) -> str:
        """The expert's name at the beginning of a sentence."""
        return self.name.subject


@dataclass(frozen=True, eq=False)
class QueuedExpert:
    """An expert of a product.

    Attributes:
        node: The node with its inputs, those of Schedule (Expert) included; Product as Model for its reference.
        name: What messages call it.
    """

    node: QueuedNode
    name: Name

    @cached_property
    def loader(self) -> QueuedNode | None:
        """The node that loads its MODEL; None if that isn't known."""
        return next(reversed(self.node.behind("model")), None)

    @cached_property
    def space(self) -> str | None:
        """What messages call its latent space; None unless it is a usable expert of this pack."""
        metadata = _unless_refused(metadata_of, expert_file(self.loader))
        if metadata is None:
            return None
        pictures = f"pictures of {metadata.image_size}×{metadata.image_size} pixels"
        return pictures if metadata.vae is None else f"latents of the VAE {metadata.vae}"

    @property
    def window(self) -> tuple[float, float] | None:
        """The part of the sampling in which it acts, 0…1; None if another node makes one of the numbers."""
        span = self.node.numbers(("start", "end"))
        return (span["start"], span["end"]) if len(span) == 2 else None

    @property
    def term(self) -> QueuedTerm | None:
        """The expert's numbers, if all of them are known, it acts everywhere, and no noise level limits it."""
        numbers = self.node.numbers(_NUMBERS)
        is_known = len(numbers) == len(_NUMBERS) and not any(numbers[name] for name in _UNSCHEDULED)
        if is_known and "mask" not in self.node.inputs and not self.node.inputs.get("weight_curve"):
            with suppress(ValueError):  # the check of the expert's own node says so
                return QueuedTerm(name=self.name, has_null=not self._lacks_null, **numbers)
        return None

    @property
    def _lacks_null(self) -> bool:
        """Whether it certainly lacks a null; not where it is unconditional, or nothing is known of it."""
        if "null" in self.node.inputs:
            return False
        encoder = encoder_of(self.loader)
        is_checkpoint = self.loader is not None and self.loader.class_type == "CheckpointLoaderSimple"
        return is_checkpoint or (encoder is not None and encoder.kind != "none")


class QueuedChain:
    """The chain wired to a node; empty if part of it comes from an unknown node, or the nodes form a ring.

    Args:
        nodes: The nodes of the chain, from its end.

    Attributes:
        experts: The experts, the reference first.
        settings: The settings by their kind, in their order; None for those that can't be known or used.
    """

    def __init__(self, nodes: Sequence[QueuedNode]):
        experts: list[QueuedNode] = []
        self.settings: dict[type[Setting], Setting | None] = {}
        scheduled: dict[str, Any] = {}
        is_known = all(node.class_type in CHAINED for node in nodes)
        for node in nodes if is_known else ():  # of two of a kind, the one nearer to the end counts
            if node.class_type in _EXPERTS:
                experts.insert(0, replace(node, inputs={**_UNSCHEDULED, **node.inputs, **scheduled}))
                scheduled = {}
            elif node.class_type == SCHEDULE:
                scheduled = scheduled or {name: value for name, value in node.inputs.items() if name != "experts"}
            elif (kind := SETTING_NODES.get(node.class_type)) is not None and kind not in self.settings:
                self.settings = {kind: _setting(kind, node), **self.settings}
        self.experts = _named(experts)

    @cached_property
    def terms(self) -> tuple[QueuedTerm, ...]:
        """The experts' numbers, if all are known and none is limited to a place or to noise levels; else none."""
        terms = [expert.term for expert in self.experts]
        return () if None in terms else tuple(filter(None, terms))

    @property
    def spaces(self) -> list[int] | None:
        """For each expert the number of its latent space, from 0; None if that cannot be known.

        Without any VAE they have to be of one space.
        """
        numbers = [each.space for each in queued_spaces(self.experts)]
        if None not in numbers:
            return [number for number in numbers if number is not None]
        may_differ = len(numbers) > 1 and any("vae" in expert.node.inputs for expert in self.experts)
        return None if may_differ else [0] * len(numbers)


def chain_of(node: QueuedNode | None) -> QueuedChain:
    """The chain that is wired to a node; built once a prompt."""
    end = node.source("experts") if node is not None else None
    return current_prompt().once(("chain", end), lambda: QueuedChain([] if node is None else node.behind("experts")))


def experts_of(end: QueuedNode) -> list[QueuedExpert]:
    """The experts of the product that a node samples or makes a MODEL, whose reference that node is; none if unknown.

    Args:
        end: The node that the chain is wired to.
    """
    experts = chain_of(end).experts
    return _named([end, *(expert.node for expert in experts)]) if end.class_type == PRODUCT_MODEL else experts


def queued_spaces(experts: Sequence[QueuedExpert]) -> list[InSpace]:
    """The experts as the checks of latent spaces see them, which a run shares."""
    known = [*dict.fromkeys(expert.space for expert in experts if expert.space is not None)]
    numbers: dict[str | None, int] = {space: number for number, space in enumerate(known)}
    return [
        InSpace(
            *expert.name,
            numbers.get(expert.space),
            expert.space or "",
            has_vae="vae" in expert.node.inputs,
            is_remote=expert.node.class_type == EXPERT_REMOTE,
        )
        for expert in experts
    ]


def fault_of_experts(experts: Sequence[QueuedExpert], trial: Trial) -> Fault | None:
    """The fault of a product, if a trial of it raises ValueError; at the expert that can mend it if there is one.

    Args:
        experts: The product's experts, as the trial counts them.
        trial: Raises TermError where an input of one of them mends it.
    """
    try:
        trial()
    except TermError as error:
        return Fault(error.input, str(error), experts[error.index].node.id)
    except ValueError as error:
        return Fault("experts", str(error))
    return None


def ends_of(expert: QueuedNode) -> list[QueuedNode]:
    """The nodes that sample a chain with an expert, such as guiders; without those that nothing needs."""
    ends: dict[QueuedNode, None] = {}
    passed: set[QueuedNode] = set()
    waiting = expert.users("experts")
    while waiting:
        node, *waiting = waiting
        if node.class_type not in CHAINED:
            ends[node] = None
        elif node not in passed:
            passed.add(node)
            waiting += node.users("experts")
    needed = {node for nodes in expert.prompt.needed.values() for node in nodes}
    return [node for node in ends if node in needed and node.class_type != CHOOSE]  # which reads another's scores


def cut_experts() -> list[QueuedNode]:
    """The experts of the prompt whose chain ends at them, beside a product that is sampled."""
    nodes = current_prompt().nodes.values()
    sampled = any(node.source("experts") is not None and node.class_type not in CHAINED for node in nodes)
    return [node for node in nodes if sampled and node.class_type in _EXPERTS and not node.users("experts")]


def _named(nodes: Sequence[QueuedNode]) -> list[QueuedExpert]:
    """The experts of a product with their names in messages."""
    titles = telling([node.title for node in nodes])
    return [
        QueuedExpert(node, name_of(title, f"expert {place}"))
        for place, (node, title) in enumerate(zip(nodes, titles, strict=True), start=1)
    ]


def _setting(kind: type[Setting], node: QueuedNode) -> Setting | None:
    names = [each.name for each in fields(kind)]
    numbers = node.numbers(names)
    with suppress(ValueError):  # the node's own check says so
        if all(name in numbers or name not in node.inputs for name in names):
            return kind(**numbers)
    return None

"""A distillation as a TOML file describes it: experts, their prompts, and the student."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ..conditions.request import ConditionRequest
from ..product.methods.passes import Passes
from ..product.rules.eq10 import EQ10
from ..product.rules.own_null import OWN_NULL
from ..product.terms.term_numbers import TermNumbers
from ..system.fields import Between, shown
from ..training.config import MOST_RANK, build, read_toml
from .config import DistilConfig, LearningConfig, LogsConfig, LossConfig, TrajectoryConfig

STUDENT = "student"
UNSEEN = "unseen"
RULES = {"product": EQ10, "own-null": OWN_NULL}
_PATHS = ("map", "sketch", "drawing", "low_res")

Draw = Callable[[Mapping[str, Any]], list[dict[str, Any]]]
"""A table `[prompts]` → the prompts that it describes, as a list `[[prompts]]` has them."""


@dataclass(frozen=True)
class ExpertEntry(TermNumbers):
    """One expert of the product.

    Attributes:
        name: Its name in prompts.
        expert: File, or name of an expert that ships.
        lora: File of a LoRA to add; empty for none.
        strength: Its strength.
        mask: Picture of where the expert acts, white where it does; empty for everywhere.
    """

    name: str
    expert: str
    lora: str = ""
    strength: float = 1.0
    mask: str = ""

    @property
    def label(self) -> str:
        """Its name in prompts."""
        return self.name


@dataclass(frozen=True)
class Prompt:
    """What everybody is given for one picture.

    Attributes:
        conditions: Name of an expert, or "student" → its condition.
        unseen: Whether it is never trained on.
    """

    conditions: Mapping[str, ConditionRequest]
    unseen: bool = False


@dataclass(frozen=True)
class Recipe:
    """The whole file.

    Attributes:
        config: How the student learns.
        student: File of the expert that learns, or name of one that ships.
        experts: The product.
        prompts: What they are given.
        rule: A key of `RULES`.
        passes: Passes that the product may leave out.
        half: Write half precision.
        card: Licence, attribution and other entries of the LoRA's card.
        folder: Folder that files are relative to.
    """

    config: DistilConfig
    student: str
    experts: tuple[ExpertEntry, ...]
    prompts: tuple[Prompt, ...]
    rule: str
    passes: Passes
    half: bool
    card: dict[str, str]
    folder: Path


@dataclass(frozen=True)
class _Top:
    """What stands before the sections."""

    name: str
    student: str
    rank: Annotated[int, Between(1, MOST_RANK)] = 16
    weight: Annotated[float, Between(1e-6)] = 1.0
    rule: str = "product"
    half: bool = False
    card: dict[str, str] = field(default_factory=dict)


_SECTIONS = {
    "loss": LossConfig,
    "trajectories": TrajectoryConfig,
    "optimizer": LearningConfig,
    "report": LogsConfig,
}


def load_recipe(path: Path, draw: Draw | None = None) -> Recipe:
    """Read a configuration.

    Args:
        path: The TOML file.
        draw: Draws the prompts of a table; None where none are drawn.

    Raises:
        ValueError: The file is no TOML, or an entry is unknown, missing, of another type or cannot be used.
    """
    values, where = read_toml(path), path.name
    experts = [build(ExpertEntry, each, f"[[experts]] of {where}") for each in _listed(values, "experts", where)]
    _check_names([each.name for each in experts], where)
    given = values.get("prompts")
    if isinstance(given, dict):
        values["prompts"] = _drawn(given, draw, where)
    names = [*(each.name for each in experts), STUDENT]
    prompts = [_prompt(each, names, path) for each in _listed(values, "prompts", where)]
    _check_prompts(prompts, experts, where)
    passes = build(Passes, values.pop("passes", {}), f"[passes] of {where}")
    sections = {name: build(kind, values.pop(name, {}), f"[{name}] of {where}") for name, kind in _SECTIONS.items()}
    top = build(_Top, {name: value for name, value in values.items() if name not in ("experts", "prompts")}, where)
    if top.rule not in RULES:
        raise ValueError(f"Expected a rule among {', '.join(RULES)} in {where} and got {top.rule!r}; correct it.")
    return Recipe(
        DistilConfig(name=top.name, rank=top.rank, weight=top.weight, **sections),
        top.student,
        tuple(experts),
        tuple(prompts),
        top.rule,
        passes,
        top.half,
        top.card,
        path.parent,
    )


def _listed(values: Mapping[str, Any], name: str, where: str) -> list[Any]:
    given = values.get(name)
    if not isinstance(given, list) or not given:
        raise ValueError(f"Expected [[{name}]] in {where}, one or more, and got {shown(given)}; add them.")
    return given


def _drawn(given: Mapping[str, Any], draw: Draw | None, where: str) -> list[dict[str, Any]]:
    if draw is None:
        raise ValueError(
            f"Expected [[prompts]] in {where} and got a table, whose prompts are drawn; list them, or run `python -m "
            "studies distil` in a clone of the repository."
        )
    return draw(given)


def _check_names(names: Sequence[str], where: str) -> None:
    if twice := [name for name in names if names.count(name) > 1 or name in (STUDENT, UNSEEN)]:
        raise ValueError(
            f"Expected names of experts in {where} that differ from each other, from {STUDENT!r} and from {UNSEEN!r}, "
            f"and got {twice[0]!r}; rename it."
        )


def _prompt(given: Any, names: Sequence[str], path: Path) -> Prompt:
    where = f"[[prompts]] of {path.name}"
    if not isinstance(given, dict):
        raise ValueError(f'Expected tables as {where} and got {shown(given)}; write {STUDENT} = {{ text = "…" }}.')
    if unknown := sorted(given.keys() - {*names, UNSEEN}):
        raise ValueError(f"{where} has unknown names {unknown}; known are {sorted({*names, UNSEEN})}.")
    if not isinstance(unseen := given.get(UNSEEN, False), bool):
        raise ValueError(f"{where}: expected true or false for {UNSEEN} and got {shown(unseen)}; correct it.")
    requests = {name: _request(given[name], f"{name} of {where}", path.parent) for name in names if name in given}
    return Prompt(requests, unseen)


def _request(given: Any, where: str, folder: Path) -> ConditionRequest:
    if isinstance(given, dict):
        given = {n: folder / v if n in _PATHS and isinstance(v, str) else v for n, v in given.items()}
    request: ConditionRequest = build(ConditionRequest, given, where)
    return request


def _check_prompts(prompts: Sequence[Prompt], experts: Sequence[ExpertEntry], where: str) -> None:
    """Each prompt has a condition for everybody who is given one by any, and for each expert that guides."""
    needed = {each.name for each in experts if each.weight != 0}.union(*(each.conditions for each in prompts))
    for number, prompt in enumerate(prompts, 1):
        if missing := sorted(needed - prompt.conditions.keys()):
            raise ValueError(
                f"Expected a condition for {missing[0]} in each of the prompts of {where}, and number {number} has "
                'none; add it, text = "" for an empty caption.'
            )

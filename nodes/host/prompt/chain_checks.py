"""What is refused at POST /prompt of chains of experts and of sweeps; masks are left to the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from ....mcdm_core.product.curve import parse_curve
from ....mcdm_core.product.eq10 import EQ10
from ....mcdm_core.product.method import Setting
from ....mcdm_core.product.planner import Planner
from ....mcdm_core.product.plans import ProductPlans
from ....mcdm_core.product.registry import SETTINGS, methods_of
from ....mcdm_core.product.rule import Rule
from ....mcdm_core.product.separate import check_positive
from ....mcdm_core.product.span import Span
from ....mcdm_core.product.term_settings import TermSettings
from ....mcdm_core.sampling.sweep import Sweep, Varied, parse_factors, parse_values, seeds_from
from ..files.expert_folders import vae_key
from .queue_checks import KNOWN, check_value, known_numbers
from .queued_prompt import (
    chain_inputs,
    encoder_of,
    expert_name_of,
    find_node,
    last_before_loader,
    linked_node,
    policy_inputs,
    users_of,
)
from .validation import Fault, fault_of

SETTING_NODES = {f"MCDM_{kind.name}": kind for kind in SETTINGS}
"""Nodes that set something of a method."""

_SPAN = tuple(each.name for each in fields(Span))
_SWEEP = ("expert_index", "values", "vary", "guidance", "seed", "seeds")
_SCHEDULERS = ("BasicScheduler", "MCDM_Sigmas")  # whose noise levels go from the highest to 0 at a denoise of 1


def check_chain(node_id: str, rule: Rule = EQ10) -> Fault | None:
    """Whether the experts wired to a guider or sampler can be combined.

    Args:
        node_id: The node's id in the prompt.
        rule: How it combines them.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    try:
        _check_spaces(node_id)
        _check_shares(_known_chain(node_id), rule, _known_settings(node_id))
        _check_windows(node_id)
    except ValueError as error:
        return Fault("experts", str(error))
    return None


def check_positive_weights(node: dict) -> None:
    """Refuse the chain wired to a guider or sampler if certainly none of its experts is of positive weight.

    Raises:
        ValueError: If none is.
    """
    chain = chain_inputs(node) or []
    weights = [_numbers_of(inputs, ["weight"]).get("weight", 1.0) for inputs in chain if not inputs.get("weight_curve")]
    if len(weights) == len(chain) > 0:
        check_positive([(f"expert {place}", weight) for place, weight in enumerate(weights, start=1)])


def check_schedule(node_id: str) -> Fault | None:
    """Whether the noise levels and the weight curve of Expert Schedule can be used."""
    inputs = (find_node(node_id) or {"inputs": {}})["inputs"]
    levels = _numbers_of(inputs, ("sigma_start", "sigma_end"))
    return fault_of("sigma_start", partial(Span, **levels)) or check_value(node_id, "weight_curve", parse_curve)


def check_setting(node_id: str) -> Fault | None:
    """Whether what a node sets of a method can be used: its span, and each of its other numbers."""
    node = find_node(node_id)
    if node is None:
        return None
    kind = SETTING_NODES[node["class_type"]]
    parts: dict[str, tuple[str, ...]] = {"start": ("start", "end"), "sigma_start": ("sigma_start", "sigma_end")}
    parts |= {name: (name,) for name in _own_numbers(kind)}
    trials = ((name, partial(kind, **_numbers_of(node["inputs"], names))) for name, names in parts.items())
    return next(filter(None, (fault_of(name, trial) for name, trial in trials)), None)


def check_fixed_weights(product: dict) -> None:
    """Refuse methods of the product wired to a node that let weights depend on the samples.

    Raises:
        ValueError: If one does.
    """
    for method in methods_of([setting for setting in _queued_settings(product).values() if setting is not None]):
        method.check_fixed()


def check_sweep(node_id: str) -> Fault | None:
    """As `check_chain`, for every cell of a sweep; and whether its grid can be read.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    node = find_node(node_id) or {"inputs": {}}
    try:
        sweep = _read_sweep(node["inputs"])
    except _UnreadableError as error:
        return error.fault
    if sweep is None:
        return None
    whole = chain_inputs(node) or []
    try:
        if whole:
            sweep.check_expert(len(whole))
    except ValueError as error:
        return Fault("expert_index", str(error))
    try:
        _check_spaces(node_id)
        chain = _known_chain(node_id)
        for cell in sweep.cells() if chain else ():
            if cell.seed == sweep.seeds[0]:  # seeds change no coefficients
                _check_shares(sweep.at(chain, cell), EQ10, _known_settings(node_id))
        _check_windows(node_id)
    except ValueError as error:
        return Fault("experts", str(error))
    return None


class _UnreadableError(ValueError):
    def __init__(self, fault: Fault):
        super().__init__(fault.sentence)
        self.fault = fault


def _read_sweep(inputs: dict) -> Sweep | None:
    """The grid that a node's widgets describe; None where other nodes make some of them.

    Raises:
        _UnreadableError: If it cannot be read; with the input that is wrong.
    """
    if any(isinstance(inputs.get(name), (list, type(None))) for name in _SWEEP):
        return None
    read = {
        "values": _read("values", parse_values, inputs["values"]),
        "factors": _read("guidance", parse_factors, inputs["guidance"]),
        "seeds": _read("seeds", seeds_from, inputs["seed"], inputs["seeds"]),
        "varied": _read("vary", Varied, inputs["vary"]),
    }
    # What remains to be wrong is the number of columns, which is mostly the seeds'.
    return _read("seeds", lambda: Sweep(inputs["expert_index"] - 1, **read))


def _read(name: str, reader: Callable[..., Any], *given: Any) -> Any:
    try:
        return reader(*given)
    except ValueError as error:
        raise _UnreadableError(Fault(name, str(error))) from error


@dataclass(frozen=True)
class _QueuedExpert(TermSettings):
    """What a prompt says of an expert.

    Attributes:
        place: In the chain, from 1.
        has_null: False where it certainly has none.
    """

    place: int
    has_null: bool

    @property
    def label(self) -> str:
        """Its place in the chain."""
        return f"expert {self.place}"


def _check_shares(chain: Sequence[_QueuedExpert], rule: Rule, settings: Sequence[Setting] | None) -> None:
    """Refuse experts that act everywhere and all the time and cannot be combined."""
    if chain and settings is not None:
        have_null = [expert.has_null for expert in chain]
        plans = ProductPlans(
            terms=chain, rule=rule, have_null=have_null, methods=methods_of(settings), give_null="connect its null"
        )
        Planner(plans).check_always()


def _check_spaces(node_id: str) -> None:
    """Refuse experts of this pack that don't all work on pictures, or on latents of one VAE."""
    node = find_node(node_id)
    reference: tuple[int, str] | None = None
    for place, inputs in enumerate((chain_inputs(node) if node else None) or [], start=1):
        name = expert_name_of(last_before_loader({"inputs": inputs}), "model")
        space = _space(name) if name is not None else None
        if space is None:
            continue
        reference = reference or (place, space)
        if space != reference[1]:
            raise ValueError(
                f"Expected experts that all work on pixels, or all on latents of one VAE, but expert {reference[0]} "
                f"works on {reference[1]} and expert {place} on {space}; they can't be mixed, so choose experts of one "
                "kind."
            )


def _space(expert_name: str) -> str | None:
    """What an expert works on; None where its file cannot be used, which the loader's own check says."""
    try:
        key = vae_key(expert_name)
    except ValueError:
        return None
    return "pixels" if key is None else f"latents of the VAE {key}"


def _check_windows(node_id: str) -> None:
    """Refuse windows that leave a gap, where the whole way from noise to picture is certainly sampled."""
    node = find_node(node_id)
    chain = (chain_inputs(node) if node else None) or []
    windows = [(inputs.get("start"), inputs.get("end")) for inputs in chain]
    known = [(a, b) for a, b in windows if isinstance(a, (int, float)) and isinstance(b, (int, float))]
    if node is None or not windows or len(known) < len(windows) or not _samples_all(node_id, node):
        return
    reached = 0.0
    for start, end in [*sorted(known), (1.0, 1.0)]:
        if start > reached:
            raise ValueError(
                f"Expected an active expert throughout the sampling and got none from {reached:g} to {start:g} of it; "
                "widen start and end of an expert so that the windows leave no gap."
            )
        reached = max(reached, end)


def _samples_all(node_id: str, node: dict) -> bool:
    """Whether a sampler, or one that a guider is wired to, certainly goes from the highest noise level to 0."""
    if "denoise" in node["inputs"]:
        return node["inputs"]["denoise"] == 1
    samplers = [node, *users_of(node_id, "guider")]
    schedulers = [linked_node(sampler, "sigmas") for sampler in samplers]
    return any(
        scheduler is not None and scheduler.get("class_type") in _SCHEDULERS and scheduler["inputs"].get("denoise") == 1
        for scheduler in schedulers
    )


def _known_chain(node_id: str) -> list[_QueuedExpert]:
    """All experts of the chain wired to a node; none if some cannot be known, or act only in part.

    Raises:
        ValueError: If a number cannot be used.
    """
    node = find_node(node_id)
    chain = (chain_inputs(node) if node else None) or []
    numbers = [known_numbers(inputs) for inputs in chain]
    known = all(len(of) == len(KNOWN) for of in numbers)
    if not known or any(_acts_in_part(inputs, of) for inputs, of in zip(chain, numbers, strict=True)):
        return []
    experts = enumerate(zip(chain, numbers, strict=True), start=1)
    return [_QueuedExpert(place, not _lacks_null(inputs), **of) for place, (inputs, of) in experts]


def _acts_in_part(inputs: dict, numbers: dict[str, float]) -> bool:
    """Whether an expert has a mask, a window or a weight curve."""
    whole = numbers["start"] == 0 and numbers["end"] == 1 and not numbers["sigma_start"] and not numbers["sigma_end"]
    return "mask" in inputs or bool(inputs.get("weight_curve")) or not whole


def _own_numbers(kind: type[Setting]) -> list[str]:
    """The numbers of a setting beside those of its span."""
    return [each.name for each in fields(kind) if each.name not in _SPAN]


def _queued_settings(product: dict) -> dict[type[Setting], Setting | None]:
    """What nodes of the chain wired to a node set of methods; None of one that cannot be known."""
    found: dict[type[Setting], Setting | None] = {}
    for class_type, kind in SETTING_NODES.items():
        inputs = policy_inputs(product, class_type)
        if inputs is not None:
            names = (*_SPAN, *_own_numbers(kind))
            numbers = _numbers_of(inputs, names)
            known = all(isinstance(inputs.get(name, 0), (int, float)) for name in names)
            found[kind] = kind(**numbers) if known and not fault_of("", partial(kind, **numbers)) else None
    return found


def _known_settings(node_id: str) -> list[Setting] | None:
    """The settings that count at some level of the run of the product wired to a node; None if that cannot be known.

    One that lets more be combined has to be known; one that asks for more counts where it certainly acts.
    """
    node = find_node(node_id) or {"inputs": {}}
    found: list[Setting] = []
    for kind, setting in _queued_settings(node).items():
        by_levels = setting is None or setting.sigma_start or setting.sigma_end
        if setting is not None and not by_levels and (setting.is_whole or _samples_all(node_id, node)):
            found.append(setting)
        elif kind.relaxes:
            return None
    # An interval may keep out the whole span of another method.
    limited = any(setting.relaxes and not setting.is_whole for setting in found)
    return [setting for setting in found if setting.relaxes or not limited]


def _numbers_of(inputs: dict, names: Sequence[str]) -> dict[str, Any]:
    """Those of a node's widgets that are numbers, and not made by other nodes."""
    return {name: inputs[name] for name in names if isinstance(inputs.get(name), (int, float))}


def _lacks_null(expert: dict) -> bool:
    """Whether an expert certainly lacks a null: an unconditional one needs none, and of some nothing is known."""
    if "null" in expert:
        return False
    owner = last_before_loader({"inputs": expert})
    source = linked_node(owner, "model") or {}
    encoder = encoder_of(owner, "model")
    return source.get("class_type") == "CheckpointLoaderSimple" or (encoder is not None and encoder.kind != "none")

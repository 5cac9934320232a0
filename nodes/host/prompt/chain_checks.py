"""Refusals at POST /prompt of chains of experts and of sweeps; masks are left to the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial

from ....mcdm_core.product.evaluation.plan import Plan
from ....mcdm_core.product.methods.method import Setting
from ....mcdm_core.product.methods.registry import methods_of
from ....mcdm_core.product.plans.combination import Combination, MakePlan, plan_product
from ....mcdm_core.product.plans.joint import PlanAcrossSpaces
from ....mcdm_core.product.plans.planner import Planner
from ....mcdm_core.product.rules.eq10 import EQ10
from ....mcdm_core.product.rules.rule import Rule
from ....mcdm_core.product.spaces import JointSpaces, Space
from ....mcdm_core.product.terms.curve import parse_curve
from ....mcdm_core.product.terms.span import Span
from ....mcdm_core.product.terms.term_numbers import TermError
from ....mcdm_core.sampling.sweep import Sweep, Varied
from ....mcdm_core.sampling.sweep_texts import parse_factors, parse_values, read_sweep, seeds_from
from ..chain.node_ids import SETTING_NODES, SIGMAS
from ..run.planning import REMEDIES
from ..spaces.refusals import OF_SCORES, check_one_space
from .faults import Fault, Trial, check_value, fault_of, first_fault
from .queued_chain import QueuedChain, QueuedTerm, chain_of, fault_of_experts, queued_spaces
from .queued_prompt import QueuedNode
from .space_checks import check_latents, check_space

_ONE_VALUE = Space((1, 1, 1), (1, 1), decode=lambda samples: samples, encode=lambda pictures: pictures)
"""Stands for a space whose size isn't known: of experts that act everywhere, coefficients are numbers."""

_SWEEP = ("expert_index", "values", "vary", "guidance", "seed", "seeds")
_SCHEDULERS = ("BasicScheduler", SIGMAS)  # whose noise levels go from the highest to 0 at a denoise of 1


def check_chain(node: QueuedNode, rule: Rule = EQ10) -> Fault | None:
    """Whether the experts wired to a guider or sampler can be combined, and fit the latent that is wired beside them.

    Args:
        node: The guider or sampler.
        rule: How it combines them.

    Returns:
        The fault, at the expert that can mend it if there is one.
    """
    if fault := check_space(node):
        return fault
    chain = chain_of(node)
    fault = None
    if node.inputs.get("scores") is True:
        fault = fault_of("scores", partial(check_one_space, queued_spaces(chain.experts), *OF_SCORES))
    return fault or fault_of_experts(chain.experts, partial(_check_products, node, chain, rule)) or check_latents(node)


def check_sweep(node: QueuedNode) -> Fault | None:
    """As `check_chain`, for every cell of a sweep; and whether its grid can be read."""
    return _check_grid(node) or check_latents(node)


def _check_grid(node: QueuedNode) -> Fault | None:
    if any(isinstance(node.inputs.get(name), (list, type(None))) for name in _SWEEP):
        return check_space(node)  # other nodes make some of the values
    if fault := check_space(node) or first_fault(_sweep_trials(node)):
        return fault
    sweep, chain = _sweep_of(node), chain_of(node)
    count = len(chain.experts)
    if count and (fault := fault_of("expert_index", partial(sweep.check_expert, count))):
        return fault
    if count and sweep.varied is Varied.ABSOLUTE and (fault := _lacks_condition(chain, sweep)):
        return fault
    return fault_of_experts(chain.experts, partial(_check_products, node, chain, EQ10, sweep))


def check_schedule(node: QueuedNode) -> Fault | None:
    """Whether the noise levels and the weight curve of Schedule (Expert) can be used."""
    levels = node.numbers(("sigma_start", "sigma_end"))
    return fault_of("sigma_start", partial(Span, **levels)) or check_value(node, "weight_curve", parse_curve)


def check_setting(node: QueuedNode) -> Fault | None:
    """Whether the setting that a node makes can be used: its span, and each of its other numbers."""
    kind = SETTING_NODES[node.class_type]
    parts, of_span = {each.name: [each.name] for each in fields(kind)}, [each.name for each in fields(Span)]
    for start, end in zip(of_span[::2], of_span[1::2], strict=True):  # judged together
        parts[start] += parts.pop(end)
    return first_fault((name, partial(kind, **node.numbers(names))) for name, names in parts.items())


def _lacks_condition(chain: QueuedChain, sweep: Sweep) -> Fault | None:
    """The missing condition of an expert that a sweep gives other weights than 0."""
    expert = chain.experts[sweep.expert]
    weight = next(filter(None, sweep.values), None)
    if "condition" in expert.node.inputs or weight is None:
        return None
    sentence = (
        f"{expert.name.subject} needs a prompt, because this sweep gives it the weight {weight:g}. Connect "
        f"positive at {expert.name.label}, or choose another expert_index."
    )
    return Fault("expert_index", sentence, cause=expert.node.id)


def _sweep_of(node: QueuedNode) -> Sweep:
    """The grid that a node's widgets describe."""
    return read_sweep(**{name: node.inputs[name] for name in _SWEEP})


def _sweep_trials(node: QueuedNode) -> Iterable[tuple[str, Trial]]:
    """Trials of a sweep's widgets."""
    given = node.inputs
    yield "vary", lambda: Varied(given["vary"])
    yield "values", lambda: parse_values(given["values"], Varied(given["vary"]))
    yield "guidance", lambda: parse_factors(given["guidance"])
    yield "seeds", lambda: seeds_from(given["seed"], given["seeds"])
    yield "seeds", lambda: _sweep_of(node)  # the number of columns, which is mostly the seeds'


def _check_products(node: QueuedNode, chain: QueuedChain, rule: Rule, sweep: Sweep | None = None) -> None:
    """Refuse the product that a node samples, or all those of a sweep, as far as the chain wired to the node shows.

    Raises:
        ValueError: If one can't be sampled.
    """
    samples_all = _samples_all(node)
    if samples_all:
        _check_windows(chain)
    settings, spaces = _certain_settings(chain, samples_all), chain.spaces
    if not chain.terms or not (samples_all or all(term.is_whole for term in chain.terms)):
        return
    if settings is None or spaces is None:
        check: Callable[[Sequence[QueuedTerm]], object] = tuple  # which refuses none
    else:
        check = partial(_check_combination, rule, settings, spaces)
    if sweep is not None:
        sweep.check_cells(chain.terms, check)
    else:
        check(chain.terms)


def _check_combination(
    rule: Rule, settings: Sequence[Setting], spaces: Sequence[int], terms: Sequence[QueuedTerm]
) -> None:
    """Refuse experts that cannot be combined where they act.

    If some have a window or curve, a run from the highest noise level to 0 is judged.

    The settings are those that certainly take effect; the spaces are the numbers of the experts' latent spaces.
    """
    is_whole = all(term.is_whole for term in terms)
    combination = Combination(
        terms=terms,
        rule=rule,
        have_null=[term.has_null for term in terms],
        methods=methods_of(settings, None if is_whole else _level_at),
        remedies=REMEDIES,
    )
    make: MakePlan[Plan] = plan_product
    if any(spaces):
        make = PlanAcrossSpaces(JointSpaces([_ONE_VALUE] * (max(spaces) + 1)), spaces)
    if is_whole:
        Planner(combination, make).check_always()
    else:
        Planner(combination, make, _level_at).check_run([_level_at(0.0), _level_at(1.0)])


def _level_at(progress: float) -> float:
    """Stands for the noise level at a share of a run, in which levels fall."""
    return 1.0 - progress


def _check_windows(chain: QueuedChain) -> None:
    """Refuse windows that leave a gap, in a run all the way from noise to picture.

    Raises:
        TermError: If there is one; of the expert before it, or of the first one if it is at the beginning.
    """
    experts = chain.experts
    known = [expert.window for expert in experts]
    usable = ((*window, index) for index, window in enumerate(known) if window is not None and window[0] < window[1])
    windows = sorted(usable)  # of others their own nodes say what is wrong
    reached, last = 0.0, None
    for start, end, index in [*windows, (1.0, 1.0, None)] if windows and None not in known else []:
        if start > reached:
            gap = f"no expert is active from {reached:g} to {start:g} of the sampling"
            if last is None:
                first = windows[0][-1]
                begins = f"{experts[first].name.subject} starts at {start:g}, and {gap}. Set its start to 0."
                raise TermError(begins, first, "start")
            ends = f"{experts[last].name.subject} ends at {reached:g}, and {gap}. Set its end to {start:g}"
            other = "" if index is None else f", or the start of {experts[index].name.label} to {reached:g}"
            raise TermError(f"{ends}{other}.", last, "end")
        if end > reached:
            reached, last = end, index


def _samples_all(node: QueuedNode) -> bool:
    """Whether a sampler, or one that takes this guider, certainly goes from the highest noise level to 0."""
    if "denoise" in node.inputs:
        return node.inputs["denoise"] == 1
    schedulers = [sampler.source("sigmas") for sampler in (node, *node.users("guider"))]
    return any(
        scheduler is not None and scheduler.class_type in _SCHEDULERS and scheduler.inputs.get("denoise") == 1
        for scheduler in schedulers
    )


def _certain_settings(chain: QueuedChain, samples_all: bool) -> list[Setting] | None:
    """The settings that take effect at some level of a run of the chain; None if that cannot be known.

    Settings allow products that are refused otherwise, so all of them must be known.
    """
    certain: list[Setting] = []
    for setting in chain.settings.values():
        if setting is None or setting.sigma_start or setting.sigma_end or not (setting.is_whole or samples_all):
            return None
        certain.append(setting)
    return certain

"""Refusals at POST /prompt of samplers and of Choose Samples, as far as the prompt shows what they are wired to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ....mcdm_core.product.logic import Logic
from ....mcdm_core.sampling.choose import check_choice
from ....mcdm_core.sampling.langevin import check_langevin
from ....mcdm_core.sampling.logic import check_correction
from ....mcdm_core.sampling.particles import check_particles
from ..samplers.langevin import STEPWISE, not_stepwise
from ..samplers.logic import NO_EXPERTS
from ..samplers.particles import NO_PRODUCT
from .chain_checks import check_one_space, check_weighable
from .queued_chain import QueuedChain, chain_of, models_behind
from .queued_prompt import QueuedNode
from .validation import Fault, Trial, fault_of, first_fault

Readers = Mapping[str, Callable[[float], object]]
"""For the name of a widget the function that refuses a wrong number."""

_OF_PARTICLES: Readers = {
    "resample_below": lambda given: check_particles(2, given, 1.0),
    "limit": lambda given: check_particles(2, 0.5, given),
}
_OF_LOGIC: Readers = {
    "sharpness": lambda given: Logic(sharpness=given),
    "prior": lambda given: Logic(excluded=given),
    "largest": lambda given: Logic(largest=given),
    **_OF_PARTICLES,
}
_SELECTABLE = {*STEPWISE, "ddim"}  # ddim is euler
_NOT_STEPWISE = {
    "SamplerDPMPP_2M_SDE": "dpmpp_2m_sde",
    "SamplerDPMPP_3M_SDE": "dpmpp_3m_sde",
    "SamplerLMS": "lms",
    "SamplerDPMAdaptative": "dpm_adaptive",
    "SamplerER_SDE": "er_sde",
    "SamplerSASolver": "sa_solver",
    "MCDM_ParticleSampler": "Particle Sampler",
    "MCDM_Logic": "Logic Sampler",
}
_ONE_MODEL = {"BasicGuider", "CFGGuider", "DualCFGGuider", "SamplerCustom"}  # ComfyUI's nodes that sample one MODEL
_SAMPLERS = {"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced", "MCDM_KSampler", "MCDM_Inspect"}


def check_langevin_node(node: QueuedNode) -> Fault | None:
    """Whether the sampler wired to Langevin Sampler can be corrected."""
    corrections, ratio = (node.inputs.get(name) for name in ("corrections", "ratio"))
    if isinstance(ratio, float) and (fault := fault_of("ratio", lambda: check_langevin(0, ratio))):
        return fault
    source = node.source("sampler")
    if source is None or not isinstance(corrections, int) or corrections == 0:
        return None
    name = _NOT_STEPWISE.get(source.class_type)
    if source.class_type == "KSamplerSelect":
        selected = source.inputs.get("sampler_name")
        name = selected if isinstance(selected, str) and selected not in _SELECTABLE else None
    return Fault("sampler", not_stepwise(name)) if name is not None else None


def check_particle_node(node: QueuedNode) -> Fault | None:
    """Whether Particle Sampler's numbers can be used, and its users sample a product of several pictures."""
    if fault := first_fault(_number_trials(node, _OF_PARTICLES)):
        return fault
    return _check_users(node, "resample_below", NO_PRODUCT, are_particles=True)


def check_logic_node(node: QueuedNode) -> Fault | None:
    """Whether Logic Sampler's numbers can be used, and its users sample a product."""
    operation, corrected = node.inputs.get("operation"), node.inputs.get("corrected") is True
    if fault := first_fault(_number_trials(node, _OF_LOGIC)):
        return fault
    if isinstance(operation, str):
        fault = fault_of("operation", lambda: check_correction(Logic(operation=operation), corrected))
        if fault:
            return fault
    return _check_users(node, "operation", NO_EXPERTS, are_particles=corrected, check=check_weighable)


def check_choose_node(node: QueuedNode) -> Fault | None:
    """Whether Choose Samples can keep so many of the samples that are made."""
    count, source = node.inputs.get("count"), node.source("samples")
    batch = _batch_of(source) if source is not None and source.class_type in _SAMPLERS else None
    if batch is None or not isinstance(count, int):
        return None
    return fault_of("count", lambda: check_choice(count, batch))


def _number_trials(node: QueuedNode, readers: Readers) -> Iterator[tuple[str, Trial]]:
    """Trials of the numbers that the prompt shows."""
    return ((name, partial(readers[name], value)) for name, value in node.numbers(readers).items())


def _check_users(
    node: QueuedNode,
    name: str,
    no_product: str,
    are_particles: bool,
    check: Callable[[QueuedChain], None] = lambda chain: None,
) -> Fault | None:
    """Whether what takes a sampler samples a product of one space, and several pictures as particles.

    Args:
        node: The sampler.
        name: Its input to mark.
        no_product: The sentence about a guider of another kind.
        are_particles: Whether the sampler treats pictures as particles.
        check: A further check of the product.
    """
    for user in node.users("sampler"):
        guider = user if user.class_type == "SamplerCustom" else user.source("guider")
        if guider is not None and guider.class_type in _ONE_MODEL and _samples_one_model(guider):
            return Fault(name, no_product.format(guider.class_type))
        chain = chain_of(user if "experts" in user.inputs else guider)
        checks = (check_one_space, check)
        trials: list[Trial] = [partial(each, chain) for each in checks]
        if are_particles and (batch := _batch_of(user)) is not None:
            trials.append(partial(check_particles, batch, 0.5, 1.0))
        if fault := first_fault((name, trial) for trial in trials):
            return fault
    return None


def _samples_one_model(node: QueuedNode) -> bool:
    """Whether the MODEL of a node comes from a loader, and through no Product as Model."""
    passed = models_behind(node)
    return bool(passed) and all(source.class_type != "MCDM_ProductModel" for source in passed)


def _batch_of(sampler: QueuedNode) -> int | None:
    """The number of samples that a sampler starts from; None unless an empty latent tells."""
    source = sampler.source("latent_image")
    if source is None or not (source.class_type.startswith("Empty") or source.class_type == "MCDM_EmptyLatent"):
        return None
    batch = source.inputs.get("batch_size")
    return batch if isinstance(batch, int) else None

"""What is refused at POST /prompt of samplers and choices: where the prompt shows what they are wired to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ....mcdm_core.product.logic import Logic
from ....mcdm_core.sampling.choose import check_choice
from ....mcdm_core.sampling.langevin import check_langevin
from ....mcdm_core.sampling.logic import check_correction
from ....mcdm_core.sampling.particles import check_particles
from ..samplers.langevin import STEPWISE, not_stepwise
from ..samplers.logic import NO_EXPERTS
from ..samplers.particles import NO_PRODUCT
from .chain_checks import check_fixed_weights, check_positive_weights
from .queued_prompt import find_node, linked_node, users_of
from .validation import Fault, fault_of

Trials = Mapping[str, Callable[[float], object]]
"""The name of a widget to what refuses a number of it."""

_OF_PARTICLES: Trials = {
    "resample_below": lambda given: check_particles(2, given, 1.0),
    "limit": lambda given: check_particles(2, 0.5, given),
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
_ONE_MODEL = {"BasicGuider", "CFGGuider", "DualCFGGuider", "SamplerCustom"}  # ComfyUI's, with the MODEL they sample
_SAMPLERS = {"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced", "MCDM_KSampler", "MCDM_Inspect"}


def check_langevin_node(node_id: str) -> Fault | None:
    """Whether the sampler wired to Langevin Sampler can be corrected.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    node = find_node(node_id) or {"inputs": {}}
    corrections, ratio = (node["inputs"].get(name) for name in ("corrections", "ratio"))
    if isinstance(ratio, float) and (fault := fault_of("ratio", lambda: check_langevin(0, ratio))):
        return fault
    source = linked_node(node, "sampler")
    if source is None or not isinstance(corrections, int) or corrections == 0:
        return None
    name = _NOT_STEPWISE.get(source["class_type"])
    if source["class_type"] == "KSamplerSelect":
        selected = source["inputs"].get("sampler_name")
        name = selected if isinstance(selected, str) and selected not in _SELECTABLE else None
    return Fault("sampler", not_stepwise(name)) if name is not None else None


def check_particle_node(node_id: str) -> Fault | None:
    """Whether Particle Sampler's numbers can be used, and whatever takes it samples a product of several pictures.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    if fault := _check_numbers((find_node(node_id) or {"inputs": {}})["inputs"], _OF_PARTICLES):
        return fault
    return _check_users(node_id, "resample_below", NO_PRODUCT, are_particles=True)


def check_logic_node(node_id: str) -> Fault | None:
    """Whether Logic Sampler's numbers can be used, and whatever takes it samples a product.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    inputs = (find_node(node_id) or {"inputs": {}})["inputs"]
    operation, corrected = inputs.get("operation"), inputs.get("corrected") is True
    trials: Trials = {
        "sharpness": lambda given: Logic(sharpness=given),
        "prior": lambda given: Logic(excluded=given),
        "largest": lambda given: Logic(largest=given),
        **_OF_PARTICLES,
    }
    if fault := _check_numbers(inputs, trials):
        return fault
    if isinstance(operation, str):
        fault = fault_of("operation", lambda: check_correction(Logic(operation=operation), corrected))
        if fault:
            return fault
    return _check_users(node_id, "operation", NO_EXPERTS, are_particles=corrected, check=check_positive_weights)


def _check_numbers(inputs: Mapping[str, Any], trials: Trials) -> Fault | None:
    """Try each number that the prompt shows, and not a link."""
    given = {name: inputs[name] for name in trials if isinstance(inputs.get(name), float | int)}
    return next(filter(None, (fault_of(name, partial(trials[name], value)) for name, value in given.items())), None)


def _check_users(
    node_id: str, name: str, no_product: str, are_particles: bool, check: Callable[[dict], None] = lambda product: None
) -> Fault | None:
    """Whether what takes a sampler samples a product of fixed weights, and several pictures if they are particles.

    Args:
        node_id: The sampler's.
        name: Its input to mark.
        no_product: What to say of a guider of another kind.
        are_particles: Whether the pictures are.
        check: Refuses products further.
    """
    for user in users_of(node_id, "sampler"):
        guider = _guider_of(user)
        if guider is not None and guider["class_type"] in _ONE_MODEL and _samples_one_model(guider):
            return Fault(name, no_product.format(guider["class_type"]))
        product = _product_of(user)
        checks: list[Callable[[], object]] = []
        if product is not None:
            checks = [partial(check_fixed_weights, product), partial(check, product)]
        if fault := next(filter(None, (fault_of(name, each) for each in checks)), None):
            return fault
        batch = _batch_of(user) if are_particles else None
        if batch is not None and (fault := fault_of(name, partial(check_particles, batch, 0.5, 1.0))):
            return fault
    return None


def _guider_of(user: dict) -> dict | None:
    """The node that guides what a node samples; SamplerCustom does itself."""
    return user if user["class_type"] == "SamplerCustom" else linked_node(user, "guider")


def _product_of(user: dict) -> dict | None:
    """The node that a chain of experts is wired to, of what a node samples."""
    return user if "experts" in user["inputs"] else _guider_of(user)


def check_choose_node(node_id: str) -> Fault | None:
    """Whether so many samples can be kept of those that are made.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    node = find_node(node_id) or {"inputs": {}}
    count, source = node["inputs"].get("count"), linked_node(node, "samples")
    batch = _batch_of(source) if source is not None and source["class_type"] in _SAMPLERS else None
    if batch is None or not isinstance(count, int):
        return None
    return fault_of("count", lambda: check_choice(count, batch))


def _samples_one_model(node: dict) -> bool:
    """Whether the MODEL of a node comes from a loader, and through no Product as Model."""
    visited = [node]
    while (source := linked_node(visited[-1], "model")) is not None and source not in visited:
        if source["class_type"] == "MCDM_ProductModel":
            return False
        visited.append(source)
    return len(visited) > 1 and "model" not in visited[-1]["inputs"]


def _batch_of(sampler: dict) -> int | None:
    """How many samples a sampler starts from; None where no empty latent says so."""
    source = linked_node(sampler, "latent_image")
    if source is None or not (source["class_type"].startswith("Empty") or source["class_type"] == "MCDM_EmptyLatent"):
        return None
    batch = source["inputs"].get("batch_size")
    return batch if isinstance(batch, int) else None

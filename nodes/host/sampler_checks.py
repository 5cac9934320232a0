"""What is refused at POST /prompt of samplers and choices: where the prompt shows what they are wired to."""

from __future__ import annotations

from functools import partial

from ...mcdm_core.sampling.choose import check_choice
from ...mcdm_core.sampling.langevin import check_langevin
from ...mcdm_core.sampling.logic import check_correction
from ...mcdm_core.sampling.particles import check_particles
from .chain_checks import check_positive_weights, queued_agreement
from .langevin_sampler import STEPWISE, not_stepwise
from .logic_sampler import NO_EXPERTS, logic_of
from .particle_sampler import NO_PRODUCT
from .queued_prompt import find_node, linked_node, users_of
from .validation import Fault, fault_of

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
    inputs = (find_node(node_id) or {"inputs": {}})["inputs"]
    share, limit = inputs.get("resample_below"), inputs.get("limit")
    if isinstance(share, float) and (fault := fault_of("resample_below", lambda: check_particles(2, share, 1.0))):
        return fault
    if isinstance(limit, float) and (fault := fault_of("limit", lambda: check_particles(2, 0.5, limit))):
        return fault
    return _check_users(node_id, "resample_below", NO_PRODUCT, are_particles=True)


def check_logic_node(node_id: str) -> Fault | None:
    """Whether Logic Sampler's numbers can be used, and whatever takes it samples a product.

    Returns:
        What is wrong; None also where it cannot be known.
    """
    inputs = (find_node(node_id) or {"inputs": {}})["inputs"]
    corrected = inputs.get("corrected") is True
    trials = {
        "operation": (str, lambda given: check_correction(logic_of(given, 1.0, 0.5, 2.0), corrected)),
        "sharpness": (float | int, lambda given: logic_of("and", given, 0.5, 2.0)),
        "prior": (float | int, lambda given: logic_of("and", 1.0, given, 2.0)),
        "largest": (float | int, lambda given: logic_of("and", 1.0, 0.5, given)),
        "resample_below": (float | int, lambda given: check_particles(2, given, 1.0)),
        "limit": (float | int, lambda given: check_particles(2, 0.5, given)),
    }
    for name, (kind, trial) in trials.items():
        given = inputs.get(name)
        if isinstance(given, kind) and (fault := fault_of(name, partial(trial, given))):
            return fault
    if fault := _check_users(node_id, "operation", NO_EXPERTS, are_particles=corrected):
        return fault
    products = map(_product_of, users_of(node_id, "sampler"))
    faults = (fault_of("operation", partial(check_positive_weights, product)) for product in products if product)
    return next(filter(None, faults), None)


def _check_users(node_id: str, name: str, no_product: str, are_particles: bool) -> Fault | None:
    """Whether what takes a sampler samples a product of fixed weights, and several pictures if they are particles.

    Args:
        node_id: The sampler's.
        name: Its input to mark.
        no_product: What to say of a guider of another kind.
        are_particles: Whether the pictures are.
    """
    for user in users_of(node_id, "sampler"):
        guider = _guider_of(user)
        if guider is not None and guider["class_type"] in _ONE_MODEL and _samples_one_model(guider):
            return Fault(name, no_product.format(guider["class_type"]))
        product = _product_of(user)
        if product is not None and (fault := fault_of(name, queued_agreement(product).check_fixed)):
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

"""Refusals at POST /prompt of samplers and of Choose Samples, as far as the prompt shows what they are wired to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ....mcdm_core.product.methods.registry import methods_of
from ....mcdm_core.product.plans.separate import check_positive
from ....mcdm_core.sampling.choose import check_choice
from ....mcdm_core.sampling.operations import Logic
from ..chain.node_ids import EMPTY_LATENT, GUIDER, INSPECT, KSAMPLER, OWN_NULL_GUIDER, PRODUCT_MODEL
from ..pictures.choose import NO_SCORES
from ..samplers.logic import NO_EXPERTS
from ..spaces.refusals import check_one_space
from .faults import Fault, fault_of, first_fault
from .queued_chain import QueuedChain, chain_of, queued_spaces
from .queued_prompt import QueuedNode

_OF_LOGIC: dict[str, Callable[[float], object]] = {
    "sharpness": lambda given: Logic(sharpness=given),
    "prior": lambda given: Logic(excluded=given),
    "largest": lambda given: Logic(largest=given),
}
_ONE_MODEL = {"BasicGuider", "CFGGuider", "DualCFGGuider", "SamplerCustom"}  # ComfyUI's nodes that sample one MODEL
_SCORED = {KSAMPLER, GUIDER, OWN_NULL_GUIDER}
_SAMPLERS = {"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced", KSAMPLER, INSPECT}


def check_logic_node(node: QueuedNode) -> Fault | None:
    """Whether Logic Sampler's numbers can be used, and its users sample a product."""
    numbers = node.numbers(_OF_LOGIC).items()
    return first_fault((name, partial(_OF_LOGIC[name], value)) for name, value in numbers) or _check_users(node)


def check_choose_node(node: QueuedNode) -> Fault | None:
    """Whether Choose Samples can keep so many of the samples that are made, and they carry scores."""
    count, source = node.inputs.get("count"), node.source("samples")
    if source is None or source.class_type not in _SAMPLERS:
        return None
    if _lacks_scores(source):
        return Fault("samples", NO_SCORES)
    batch = _batch_of(source)
    if batch is None or not isinstance(count, int):
        return None
    return fault_of("count", lambda: check_choice(count, batch))


def _lacks_scores(sampler: QueuedNode) -> bool:
    """Whether the samples of a node certainly carry no scores."""
    scored = sampler.source("guider") if sampler.class_type == "SamplerCustomAdvanced" else sampler
    if scored is None or scored.class_type not in _SCORED:
        return sampler.class_type == INSPECT
    return scored.inputs.get("scores", False) is False


def _check_users(node: QueuedNode) -> Fault | None:
    """Whether what takes Logic Sampler samples a product of one space, whose experts can be weighed."""
    for user in node.users("sampler"):
        guider = user if user.class_type == "SamplerCustom" else user.source("guider")
        if guider is not None and guider.class_type in _ONE_MODEL and _samples_one_model(guider):
            return Fault("operation", NO_EXPERTS.format(guider.class_type))
        chain = chain_of(user if "experts" in user.inputs else guider)
        in_one = partial(check_one_space, queued_spaces(chain.experts), "this sampler", "choose another sampler")
        if fault := first_fault([("operation", in_one), ("operation", partial(_check_weighable, chain))]):
            return fault
    return None


def _check_weighable(chain: QueuedChain) -> None:
    """Refuse a chain of experts that certainly can't be weighed against each other.

    Raises:
        ValueError: If none is of positive weight, or they take turns.
    """
    if not any(expert.node.inputs.get("weight_curve") for expert in chain.experts):
        weights = [expert.node.numbers(["weight"]).get("weight", 1.0) for expert in chain.experts]  # 1 if it is linked
        if weights:
            labels = [expert.name.label for expert in chain.experts]
            check_positive([*zip(labels, weights, strict=True)])
    methods_of([setting for setting in chain.settings.values() if setting is not None]).check_separate()


def _samples_one_model(node: QueuedNode) -> bool:
    """Whether the MODEL of a node comes from a loader, and through no Product as Model."""
    passed = node.behind("model")
    return bool(passed) and all(source.class_type != PRODUCT_MODEL for source in passed)


def _batch_of(sampler: QueuedNode) -> int | None:
    """The number of samples that a sampler starts from; None unless an empty latent tells."""
    source = sampler.source("latent_image")
    if source is None or not (source.class_type.startswith("Empty") or source.class_type == EMPTY_LATENT):
        return None
    batch = source.inputs.get("batch_size")
    return batch if isinstance(batch, int) else None

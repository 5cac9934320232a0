"""The planner of a run: a product's plans with masks in the shape of the latent, checked at all noise levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ....mcdm_core.product.planner import Planner
from ....mcdm_core.product.product_plans import ProductPlans
from ....mcdm_core.product.registry import methods_of
from ....mcdm_core.product.rule import Rule
from ..chain.expert_chain import Experts, settings_of
from ..chain.hooks import null_is_read
from ..comfyui.latents import mask_like
from .refusals import check_sigmas


def plan_run(
    experts: Experts, rule: Rule, noise: Tensor, shapes: Sequence[Sequence[int]], device: Any, sigmas: Tensor
) -> Planner:
    """The planner of a run; no network is called.

    Args:
        experts: The chain.
        rule: How predictions are combined.
        noise: The start noise, packed if the latent has several parts, shape (B, C, …).
        shapes: Of the parts of the latent; most have one.
        device: Where masks are put.
        sigmas: Noise levels of the run, at least one.

    Raises:
        ValueError: If the experts cannot be combined at some level.
    """
    check_sigmas(experts, sigmas)
    reference = experts[0].model.get_model_object("model_sampling")

    def level(progress: float) -> float:
        return float(reference.percent_to_sigma(progress))

    methods = methods_of(settings_of(experts), level)
    for method in methods:
        method.check_parts(len(shapes))
    plans = ProductPlans(
        terms=experts,
        rule=rule,
        masks=[None if e.mask is None else mask_like(e.mask, noise, shapes, device) for e in experts],
        have_null=[e.null is not None for e in experts],
        methods=methods,
        as_guidance=True,
        null_is_read=null_is_read(experts),
        give_null="connect its null",
    )
    planner = Planner(plans, level)
    planner.check_run(sigmas)
    return planner

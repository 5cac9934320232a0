"""The planner of a run: a product's plans with masks in the shape of the latent, checked at all noise levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ....mcdm_core.product.methods.registry import methods_of
from ....mcdm_core.product.plan import Plan
from ....mcdm_core.product.plans.combination import Combination, MakePlan, plan_product
from ....mcdm_core.product.plans.joint import PlanAcrossSpaces
from ....mcdm_core.product.plans.planner import Planner
from ....mcdm_core.product.rules.rule import Rule
from ....mcdm_core.product.span import SigmaAt
from ..chain.expert_chain import Experts, settings_of
from ..chain.hooks import REMEDIES, null_is_read
from ..comfyui.latents import mask_like, unframed
from ..evaluation.noise_levels import on_host
from ..evaluation.spaces import SpacesOfRun
from .refusals import check_sigmas


def plan_run(
    experts: Experts,
    rule: Rule,
    noise: Tensor,
    shapes: Sequence[Sequence[int]],
    device: Any,
    sigmas: Tensor,
    spaces: SpacesOfRun | None = None,
) -> Planner[Plan]:
    """The planner of a run; no network is called.

    Args:
        experts: The chain.
        rule: How predictions are combined.
        noise: The start noise, packed if the latent has several parts, shape (B, C, …).
        shapes: Of the parts of the latent; most have one.
        device: Where masks are put.
        sigmas: Noise levels of the run, at least one.
        spaces: Those of the experts; None if they have one.

    Raises:
        ValueError: If the experts cannot be combined at some level.
    """
    check_sigmas(experts, sigmas)
    reference = experts[0].model.get_model_object("model_sampling")
    sigma_at = _sigma_at(reference)
    methods = methods_of(settings_of(experts), sigma_at)
    masks = [None if e.mask is None else _fitted(mask_like(e.mask, noise, shapes, device), spaces) for e in experts]
    combination = Combination(
        terms=experts,
        rule=rule,
        masks=masks,
        masks_on_host=_on_host(masks),
        have_null=[e.null is not None for e in experts],
        methods=methods,
        as_guidance=True,
        null_is_read=null_is_read(experts),
        remedies=REMEDIES,
    )
    make: MakePlan[Plan] = plan_product if spaces is None else PlanAcrossSpaces(spaces.joint, spaces.places)
    curved = any(expert.weight_curve for expert in experts)
    at_curves = _sigma_at(on_host(reference)) if curved else None
    planner = Planner(combination, make, sigma_at, sigma_at_of_curves=at_curves)
    planner.check_run(sigmas)
    return planner


def _on_host(masks: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """See `Combination.masks_on_host`."""
    found = [None if mask is None else mask.cpu() for mask in masks]
    return [] if all(own is mask for own, mask in zip(found, masks, strict=True)) else found


def _sigma_at(model_sampling: Any) -> SigmaAt:
    return lambda progress: float(model_sampling.percent_to_sigma(progress))


def _fitted(mask: Tensor, spaces: SpacesOfRun | None) -> Tensor:
    """A mask as plans take it: across spaces a picture's, also where the reference's is a video of one frame."""
    return mask if spaces is None else unframed(mask)

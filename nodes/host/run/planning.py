"""What a run plans once its noise levels are known: who is asked at each, on samples of which form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.evaluation.plan import Plan
from ....mcdm_core.product.methods.registry import methods_of
from ....mcdm_core.product.plans.combination import Combination, MakePlan, Remedies, plan_product
from ....mcdm_core.product.plans.joint import PlanAcrossSpaces, spaces_ahead
from ....mcdm_core.product.plans.planner import Planner
from ....mcdm_core.product.rules.rule import Rule
from ....mcdm_core.product.terms.span import SigmaAt
from ..chain.attachments import read_nulls
from ..chain.expert_chain import Experts, settings_of
from ..comfyui.latents import mask_like
from ..evaluation.model_forms import FormOf, form_of, is_flow, on_host, starts_from_pictures
from ..spaces.joint_sample import JointSampler
from ..spaces.refusals import check_sampler
from ..spaces.run_spaces import RunSpaces
from ..spaces.run_state import RunState

REMEDIES = Remedies(
    "Connect negative",
    ("because a node that changed the guidance of its MODEL asks for it", "or remove that node"),
    (
        "the sampler or a node asks for the negative whatever the weights sum to, as CFG++ samplers do",
        "choose another sampler",
    ),
)
"""How a null is given in a graph, and who may want one."""


@dataclass(frozen=True)
class PlansOfRun:
    """The plans of a run, and what they are made for; `planner.at` gives the one at a noise level.

    Attributes:
        planner: Makes and keeps them, see `planner_of`.
        form_of: Gives the forms of the MODELs' samples.
        shapes: The shapes of the parts of the latent; most have one part.
        state: The state of the run, in the latent spaces of its experts.
    """

    planner: Planner[Plan]
    form_of: FormOf
    shapes: Sequence[Sequence[int]]
    state: RunState

    def sampler_around(self, sampler: Any, reference: ModelPatcher) -> Any:
        """The SAMPLER of the run: of one latent space the given one, of several one that steps them all by it.

        Args:
            sampler: ComfyUI's SAMPLER.
            reference: The reference expert's MODEL.

        Raises:
            ValueError: If there are several latent spaces, and the SAMPLER changes the size of samples.
        """
        spaces = self.state.spaces
        if not spaces.are_several:
            return sampler
        check_sampler(sampler)
        packed = form_of(reference.get_model_object("model_sampling"), spaces.joint.packed_shape)
        ahead = partial(spaces_ahead, self.planner.windows, spaces.indices)
        return JointSampler(sampler, self.state, ahead, self.form_of(reference).noise_scale / packed.noise_scale)


def planner_of(
    experts: Experts,
    rule: Rule,
    noise: Tensor,
    shapes: Sequence[Sequence[int]],
    device: Any,
    sigmas: Tensor,
    spaces: RunSpaces,
) -> Planner[Plan]:
    """The plans of a product with masks in the shape of the latent, checked at all noise levels; asks no network.

    Args:
        experts: The chain.
        rule: How predictions are combined.
        noise: The start noise, packed if the latent has several parts, shape (B, C, …).
        shapes: Shapes of the parts of the latent; most have one part.
        device: Where masks are put.
        sigmas: Noise levels of the run, at least one.
        spaces: The latent spaces of the experts.

    Raises:
        ValueError: If the experts cannot be combined at some level.
    """
    _check_sigmas(experts, sigmas)
    model_sampling = experts[0].model.get_model_object("model_sampling")
    sigma_at = _sigma_at(model_sampling)
    methods = methods_of(settings_of(experts), sigma_at)
    masks = [None if e.mask is None else spaces.unframed(mask_like(e.mask, noise, shapes, device)) for e in experts]
    combination = Combination(
        terms=experts,
        rule=rule,
        masks=masks,
        masks_on_host=_on_host(masks),
        have_null=[e.null is not None for e in experts],
        methods=methods,
        as_guidance=True,
        read_nulls=read_nulls(experts),
        remedies=REMEDIES,
    )
    make: MakePlan[Plan] = PlanAcrossSpaces(spaces.joint, spaces.indices) if spaces.are_several else plan_product
    curved = any(expert.weight_curve for expert in experts)
    at_curves = _sigma_at(on_host(model_sampling)) if curved else None
    planner = Planner(combination, make, sigma_at, sigma_at_of_curves=at_curves)
    planner.check_run(sigmas)
    return planner


def _check_sigmas(experts: Experts, sigmas: Tensor) -> None:
    """Refuse noise levels that the reference expert doesn't have.

    Raises:
        ValueError: If one is not finite, or above 1 for a flow model; or if some experts have noise levels and others
            have none.
    """
    if not sigmas.isfinite().all():
        raise ValueError(
            f"Expected finite noise levels for {experts[0].label} and got NaN or infinity; use another scheduler."
        )
    model_samplings = [expert.model.get_model_object("model_sampling") for expert in experts]
    without_noise = [starts_from_pictures(each) for each in model_samplings]
    if len(set(without_noise)) > 1:
        odd = experts[without_noise.index(True)].label
        raise ValueError(
            f"Expected experts that all make pictures of noise, but {odd} starts from a picture and has no noise "
            "levels that others could be asked at; sample it apart."
        )
    if is_flow(model_samplings[0]) and not without_noise[0] and sigmas.max() > 1:
        raise ValueError(
            f"Expected noise levels from 0 to 1 for {experts[0].label}, a flow model, and got "
            f"{sigmas.max().item():.4g}; make the sigmas with the MODEL of the first expert."
        )


def _on_host(masks: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Copies of the masks that the host reads without waiting for a device; none where the masks are there already."""
    copies = [None if mask is None else mask.cpu() for mask in masks]
    return [] if all(own is mask for own, mask in zip(copies, masks, strict=True)) else copies


def _sigma_at(model_sampling: Any) -> SigmaAt:
    """From a progress of the sampling to a MODEL's noise level."""
    return lambda progress: float(model_sampling.percent_to_sigma(progress))

"""A run's product behind the interface of the core's samplers that weigh or combine the experts' predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from ....mcdm_core.diffusion.schedule import levels_of, to_flow
from ....mcdm_core.product.evaluation import Evaluation
from ....mcdm_core.product.plans.planner import Planner
from ....mcdm_core.product.plans.separate import SeparatePlan, SeparateWeights, Weigh
from ..comfyui.step_reports import step_reports
from ..evaluation.noise_levels import FLOW_LIMIT
from ..run.guider import ProductGuider
from ..spaces.checks import check_one_space
from ..spaces.joint_sampler import JointModel
from ..spaces.refusals import in_spaces
from .functions import Sampling


def guider_of(run: Sampling, sampler: str, no_product: str) -> ProductGuider:
    """The product's guider that a sampler function is run by.

    Args:
        run: The arguments of the sampler function.
        sampler: Display name of the sampler's node.
        no_product: The message for other guiders, with a place for their class.

    Raises:
        ValueError: If it is another guider, or the experts are of several latent spaces.
    """
    guider = run.model.inner_model
    if isinstance(guider, JointModel):
        check_one_space(in_spaces(guider.experts), sampler, "choose another sampler")
    if not isinstance(guider, ProductGuider):
        raise ValueError(no_product.format(type(guider).__name__))
    return guider


class RunDenoiser:
    """ComfyUI's model in the variance-exploding form, with the experts' predictions at each call, as a core's denoiser.

    Args:
        run: The arguments of the sampler function.
        guider: The guider of the run.

    Attributes:
        point: The x of the last call, in the reference's form.
    """

    point: Tensor

    def __init__(self, run: Sampling, guider: ProductGuider):
        self._run, self._guider = run, guider
        self._form = run.form
        self._shown: list[Evaluation] = []
        self._asking = ExitStack()
        self._planner: Planner[SeparatePlan] | None = None
        guider.product.watch(self._shown.append)

    def sample(self, sampler: Callable[..., Tensor], **options: Any) -> Tensor:
        """Run one of the core's samplers that take an `area`.

        A rectified flow is stepped in the variance-exploding form, x/(1 − σ).

        Args:
            sampler: The sampler.
            **options: Its options; its `area` is the run's noise mask.

        Returns:
            The samples, in the reference's form.
        """
        run = self._run
        reports = step_reports(run.sigmas, run.callback, run.disable, lambda: self.point)
        with reports as report, self._asking:
            x, levels = self._exploding(run.x, run.sigmas)
            area = run.extra_args.get("denoise_mask")
            x = sampler(self, x, levels, generator=run.generator(1), callback=report, area=area, **options)
        return self._own_form(x, levels[-1])[0]

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """X0, shape of x."""
        return self._ask(x, sigma)

    def with_terms(self, x: Tensor, sigma: Tensor | float, weigh: Weigh) -> tuple[Tensor, Mapping[int, Tensor]]:
        """See the core's `TermsDenoiser`; from the first call until the sampler ends, experts are asked separately."""
        product = self._guider.product
        if self._planner is None:
            self._planner = self._asking.enter_context(product.separately(self._run.sigmas))
        weights = product.separate = SeparateWeights(self._planner.at, weigh)
        return self._ask(x, sigma), weights.predicted

    def _exploding(self, x: Tensor, sigmas: Tensor) -> tuple[Tensor, list[float]]:
        """A start and noise levels in the reference's form, both converted to the variance-exploding form."""
        levels = levels_of(sigmas)
        start = self._form.signal_scale(min(levels[0], FLOW_LIMIT))
        return x / start, list(map(self._form.unbounded, levels))

    def _own_form(self, x: Tensor, sigma: float) -> tuple[Tensor, float]:
        """A point and its level in the variance-exploding form, both converted to the reference's form."""
        if not self._form.flow:
            return x, sigma
        own, level = to_flow(x, torch.tensor(sigma, dtype=torch.float64), self._form.noise_scale)
        return own.to(x.dtype), float(level)

    def _ask(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self._shown.clear()
        self.point, level = self._own_form(x, float(sigma))
        denoised = self._run.denoised(self.point, level)
        if not self._shown:
            raise ValueError(
                "Expected the product to be evaluated at every step and another node left one out; remove the node "
                "that skips steps, or use another sampler."
            )
        return denoised

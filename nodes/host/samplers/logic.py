"""The core's logic of experts as a ComfyUI SAMPLER, only for products, since it needs each expert's predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor

from ....mcdm_core.diffusion.schedule import levels_of, to_flow
from ....mcdm_core.product.evaluation.evaluation import Evaluation
from ....mcdm_core.product.evaluation.forms import FLOW_LIMIT
from ....mcdm_core.product.plans.separate import SeparateCoefficients, Weigh
from ....mcdm_core.sampling import sample_logic
from ....mcdm_core.sampling.operations import HARMONIC, Logic
from ..run.guider import ProductGuider
from ..spaces.joint_sample import JointGuider
from ..spaces.refusals import check_one_space, in_spaces
from .functions import SamplerCall, sampler_function

NO_EXPERTS = (
    "Expected a product of experts, whose densities Logic Sampler tracks, and got {}, which shows one prediction "
    "alone; connect Product Guider, or another sampler."
)


@sampler_function
def sample_comfy_logic(run: SamplerCall, logic: Logic = HARMONIC) -> Tensor:
    """Logic of experts as one of ComfyUI's sampler functions.

    A rectified flow is stepped in the variance-exploding form, x/(1 − σ).

    Args:
        run: What to sample.
        logic: How densities are combined.

    Returns:
        Samples, shape of x.

    Raises:
        ValueError: If it isn't run by the guider of a product of one latent space; or as `ProductOfRun.separately` and
            `sample_logic`.
    """
    guider = run.denoiser.inner_model
    if isinstance(guider, JointGuider):
        check_one_space(in_spaces(guider.experts), "Logic Sampler", "choose another sampler")
    if not isinstance(guider, ProductGuider):
        raise ValueError(NO_EXPERTS.format(type(guider).__name__))
    levels = levels_of(run.sigmas)
    x = run.x / (1.0 - min(levels[0], FLOW_LIMIT)) if run.form.flow else run.x
    levels = list(map(run.form.unbounded, levels))
    noise_mask = run.extra_args.get("denoise_mask")
    with run.reports() as report, ExitStack() as ending:
        denoiser = _RunDenoiser(run, guider, ending)
        x = sample_logic(denoiser, x, levels, generator=run.generator(), callback=report, area=noise_mask, logic=logic)
    return denoiser.own_form(x, levels[-1])[0]


class _RunDenoiser:
    """ComfyUI's model in the variance-exploding form, with the experts' predictions at each call, as a core's denoiser.

    Once experts have been asked separately, they are until `ending` is closed, when the sampler ends.
    """

    def __init__(self, run: SamplerCall, guider: ProductGuider, ending: ExitStack):
        self._run, self._guider, self._ending = run, guider, ending
        self._shown: list[Evaluation] = []
        self._weigh_by: Callable[[Weigh], SeparateCoefficients] | None = None
        guider.product.observers.append(self._shown.append)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """X0, shape of x."""
        self._shown.clear()
        denoised = self._run.predict(*self.own_form(x, float(sigma)))
        if not self._shown:
            raise ValueError(
                "Expected the product to be evaluated at every step and another node left one out; remove the node "
                "that skips steps, or use another sampler."
            )
        return denoised

    def with_terms(self, x: Tensor, sigma: Tensor | float, weigh: Weigh) -> tuple[Tensor, Mapping[int, Tensor]]:
        """X0 with the weights from `weigh`, and each expert's own prediction, see the core's `TermsDenoiser`."""
        if self._weigh_by is None:
            self._weigh_by = self._ending.enter_context(self._guider.product.separately(self._run.sigmas))
        separate = self._weigh_by(weigh)
        return self(x, sigma), separate.predicted

    def own_form(self, x: Tensor, sigma: float) -> tuple[Tensor, float]:
        """A point and its level in the variance-exploding form, both converted to the reference's form."""
        form = self._run.form
        if not form.flow:
            return x, sigma
        own, level = to_flow(x, torch.tensor(sigma, dtype=torch.float64), form.noise_scale)
        return own.to(x.dtype), float(level)

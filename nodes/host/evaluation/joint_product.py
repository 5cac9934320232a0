"""The product of experts of several latent spaces, and the joint samples that a sampler steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.evaluation import NoiseLevel
from ....mcdm_core.product.methods.method import Methods
from ....mcdm_core.product.plan import Plan
from ....mcdm_core.product.plans.planner import Planner
from ..comfyui.latents import unframed
from ..spaces.run_spaces import SpacesOfRun
from .networks import LocalNetworks
from .noise_levels import Forms, align
from .product import Product
from .types import ModelPoint


class JointProduct(Product):
    """A product whose experts each predict the sample of their own space.

    ComfyUI's guider asks for the reference's x0 at the reference's sample; the samples of the other spaces are in
    `parts`, where `JointModel` puts them before.

    Args:
        networks: See `Product`.
        forms: Likewise.
        planner: Likewise; of joint plans.
        methods: See `Product`.
        spaces: The spaces of the run.
        parts: The parts of the joint sample, y_s; those of the last call of the sampler.
    """

    def __init__(
        self,
        networks: LocalNetworks,
        forms: Forms,
        planner: Planner[Plan],
        methods: Methods,
        spaces: SpacesOfRun,
        parts: Sequence[Tensor],
    ):
        super().__init__(networks, forms, planner, methods)
        self._spaces = spaces
        self._parts = parts

    def predict(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any]) -> Tensor:
        """See `Product.predict`.

        Raises:
            ValueError: If a sampler or node asks for the unconditional estimate, which spaces don't share.
        """
        if model_options.get("disable_cfg1_optimization"):
            raise ValueError(
                "Expected a sampler and nodes that don't ask for the unconditional estimate, because experts of "
                "several latent spaces have none in common, and got one that does, as CFG++ samplers do; choose "
                "another sampler, or remove the node."
            )
        return super().predict(x, sigma, model_options)

    def point_of(self, patcher: ModelPatcher, x: Tensor, sigma: Tensor, noise: NoiseLevel) -> ModelPoint:
        """See `Product.point_of`; about the sample of the MODEL's space, κ_s y_s."""
        place = self._spaces.place_of(patcher)
        if place == 0:
            return super().point_of(patcher, x, sigma, noise)
        forms = self.forms.of(self.reference), self.forms.of(patcher)
        own, own_sigma = align(self._parts[place], sigma, noise, *forms, self._spaces.scale_of(patcher))
        return self._spaces.framed(patcher, own), own_sigma

    def answer_of(self, x0: Tensor) -> Tensor:
        """See `Product.answer_of`; a video of one frame is a picture."""
        return unframed(x0)

    def shown(self, values: Tensor) -> Tensor:
        """See `Product.shown`."""
        return self._spaces.framed(self.reference, values)

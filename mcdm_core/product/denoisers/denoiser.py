"""The product of experts as a denoiser: it predicts x0 as one expert does, so samplers need not know of the others."""

from torch import Tensor

from ...expert.expert import Expert
from ..evaluation.plan import Predictions
from ..plans.combination import plan_product
from ..plans.planner import Planner
from ..plans.separate import SeparateCoefficients, SeparatePlan, Weigh, plan_separately
from .term_networks import ExpertPoint, Predicted
from .united import UnitedDenoiser


class ProductDenoiser(UnitedDenoiser):
    """Combines terms by Eq. 10 at one noise level (paper, §7.2), evaluating nothing that does not enter the result.

    Conditions whose weight is 0 are not evaluated, nulls only where the weights don't sum to 1, and equal nulls of one
    network once. Passes that share a network run as one batch. Predictions of x0 are combined, and clamped to [−1, 1]
    afterwards if the experts work on pixels. The learned variance, if any, is the reference's.

    Example:
        >>> terms = [Term(hair, hair_map, hair_map.null()), Term(skin, skin_map, skin_map.null())]
        >>> denoiser = ProductDenoiser(terms)
        >>> x0 = denoiser(x0_plus_noise, sigma)

    Args:
        terms: At least one, for samples of the same channels.
        rule: See `UnitedDenoiser`.
        settings: Likewise.

    Raises:
        ValueError: As `UnitedDenoiser`, and if the experts' samples differ.
    """

    _make_plan = staticmethod(plan_product)
    _separate: tuple[tuple, Planner[SeparatePlan]] | None = None

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Predict x0 of samples (B, C, H, W), see `UnitedDenoiser`."""
        return self.with_variance(x, sigma)[0]

    def with_variance(self, x: Tensor, sigma: Tensor | float) -> Predicted:
        """Predict x0 as a call does, together with the learned variance of the reference expert.

        Returns:
            x0, and v in −1…1 of the same shape; None if that expert has none or is not evaluated at this level.
        """
        evaluation, variance = self._evaluate(x, sigma, self._planner(x))
        return self._combined(evaluation), variance

    def with_terms(self, x: Tensor, sigma: Tensor | float, weigh: Weigh) -> tuple[Tensor, Predictions]:
        """Combine separate predictions of the terms, and return these as well.

        Args:
            x: As for a call.
            sigma: Likewise.
            weigh: Gives the coefficient ω_i of each term that acts.

        Returns:
            x0 = Σ ω_i D_i, clamped as the product is, and D_i by the index of the term, see
                `SeparatePlan.predictions`.

        Raises:
            ValueError: If no term of positive weight is active at σ, a null is missing, or terms take turns
                (`Method.check_separate`).
        """
        self.methods.check_separate()
        planner = self._separate_planner(x)
        separate = SeparateCoefficients(planner.at_any_level, weigh)
        evaluation, _ = self._evaluate(x, sigma, planner, separate)
        return self._combined(evaluation), separate.predicted

    def start_noise(self, noise: Tensor) -> Tensor:
        """The noise itself."""
        return noise

    def reference_part(self, x: Tensor) -> Tensor:
        """The sample itself, shape (B, C, H, W)."""
        return x

    def _check_experts(self) -> None:
        for term in self.terms:
            if term.expert.space != self.reference.space:
                names = f"{_space_name(self.reference)} and {_space_name(term.expert)}"
                raise ValueError(
                    f"Expected experts of one space and got {names}; combine them by `sample_product`, which takes "
                    "several spaces, or, if they share a VAE, name it in the `metadata` of both."
                )

    def _points(self, x: Tensor, sigma: Tensor | float) -> list[ExpertPoint]:
        return [(x, sigma)] * len(self.terms)

    def _masks(self, x: Tensor) -> list[Tensor | None]:
        return [term.mask_like(x) for term in self.terms]

    def _separate_planner(self, x: Tensor) -> Planner[SeparatePlan]:
        """The planner of separate predictions; within a run, all of its levels are checked first."""
        together = self._planner(x)
        key = together, tuple(self._levels)
        if self._separate is None or self._separate[0] != key:
            planner = together.making(plan_separately)
            if self._levels:
                planner.check_run(self._levels)
            self._separate = key, planner
        return self._separate[1]


def _space_name(expert: Expert) -> str:
    vae = expert.metadata.get("vae")
    latents = f"latents of the VAE {vae}" if vae else "latents"
    kind = f"{expert.image_size} × {expert.image_size} pixels" if expert.clamp_x0 else latents
    return f"{expert.name} ({expert.channels} channels of {kind})"

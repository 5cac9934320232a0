"""Agreement weights: experts share their weight place by place; the one that departs most from U there gets most of it.

Foteinopoulou, Budvytis & Liwicki, "LoRAtorio: An intrinsic approach to LoRA Skill Composition", 2025 (arXiv
2508.11624): asked about what it was not trained on, an adapter predicts what its base model does. There the patches are
a grid and the softmin is the whole weight; here every place has its own patch, and experts keep weights of their own.
"""

import logging
import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .coefficients import Coefficient, anywhere, total_of
from .evaluation import Evaluation
from .method import Draft, Method, Option, Setting, SpanMethod
from .plan import Asked, Plan
from .span import Level
from .weighted import add_weighted

logger = logging.getLogger(__name__)

MOST_TAU = 10000.0
LARGEST_PATCH = 255


@dataclass(frozen=True, kw_only=True)
class Agreement(Setting):
    """How a product's experts share their positive weights. The defaults leave the weights as they are.

    The weights are those of `agreement_weights` within the span (`start`, `end`, `sigma_start`, `sigma_end`, see
    `Span`). They stay as they are where fewer than two experts of positive weight act, and outside a guidance interval
    (see `Passes`).

    Attributes:
        tau: τ, how strongly a difference of cosines decides, 0…10000; at 0 the weights stay as they are.
        patch: Side of the square patch in values of a sample, odd, 1…255.

    Raises:
        ValueError: If a number cannot be used.
    """

    name = "AgreementWeights"
    about = "agreement weights", "Most weight, at each place, for the expert that changes it most; off by default."
    options = (
        Option(
            "--tau",
            ("tau",),
            (0.0,),
            "how far it decides which expert leaves the unconditional estimate the most, 0 to 10000, 300 for example "
            "(0)",
        ),
        Option("--patch", ("patch",), (5,), "side of the patches that are compared, odd (5)", ("N",)),
        Option(
            "--agreement-window",
            ("start", "end"),
            (0.0, 0.8),
            "shares of the steps between which weights are shared out (0 0.8)",
            ("START", "END"),
        ),
        Option(
            "--agreement-sigmas",
            ("sigma_start", "sigma_end"),
            (0.0, 0.0),
            "noise levels between which they are, 0 for no limit (0 0)",
            ("START", "END"),
        ),
    )

    tau: float = 0.0
    patch: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tau <= MOST_TAU:  # NaN as well
            raise ValueError(
                f"Expected a tau of 0 to {MOST_TAU:g} for agreement weights and got {self.tau}; set one, such as 300, "
                "or 0 for weights that stay."
            )
        if not (1 <= self.patch <= LARGEST_PATCH and self.patch % 2 == 1):
            raise ValueError(
                f"Expected an odd side of the patch, 1 to {LARGEST_PATCH}, for agreement weights and got {self.patch}; "
                "set one, such as 5."
            )

    @property
    def label(self) -> str:
        """What messages call the span."""
        return "agreement weights"

    def methods(self, level: Level | None = None) -> list[Method]:
        """See `Setting`."""
        return [AgreementWeights(self, level)] if self.tau > 0 else []


class AgreementWeights(SpanMethod):
    """Shares the sum of the positive weights among the experts by their predictions, see `agreement_weights`.

    Args:
        setting: The settings.
        level: See `SpanMethod`.
    """

    why_compared = (
        "because agreement weights compare experts with the unconditional estimate",
        "set its reliability to 0, or tau to 0",
    )

    def __init__(self, setting: Agreement, level: Level | None):
        super().__init__(setting, level)
        self._setting = setting
        self._rows = 0

    def begin(self, levels: Sequence[float], kept: Collection[int] = ()) -> None:
        """See `Method`."""
        self._rows = 0

    def end(self) -> None:
        """Log how many rows the weights took."""
        if self._rows:
            logger.info(
                "Agreement weights: networks were asked %d rows of negatives (nulls) that the product alone would not "
                "need.",
                self._rows,
            )

    def check_fixed(self) -> None:
        """See `Method`."""
        raise ValueError(
            "Expected fixed weights for this sampler and got agreement weights, which depend on the picture; set tau "
            "to 0, or use another sampler."
        )

    def check_parts(self, count: int) -> None:
        """See `Method`; only pictures and videos have patches."""
        if count > 1:
            raise ValueError(
                "Expected a latent of pictures or videos alone for Agreement Weights, which compares experts in "
                f"patches, and got one of {count} parts; set tau to 0, or remove the node."
            )

    def check_spaces(self) -> None:
        """See `Method`."""
        raise ValueError(
            "Expected experts of one latent space for agreement weights, which compare predictions place by place, and "
            "got several spaces; set tau to 0, or combine experts of one space."
        )

    def compared(self, draft: Draft, phase: Hashable) -> tuple[int, ...]:
        """The experts of positive weight, if there are two or more."""
        if not (phase and draft.guided):
            return ()
        found = tuple(i for i, number in draft.numbers.items() if number > 0 and anywhere(draft.weights[i] != 0))
        return found if len(found) > 1 else ()

    def take(self, evaluation: Evaluation) -> None:
        """Count the rows of nulls that only the weights need."""
        plan, asked = evaluation.plan, evaluation.asked
        if plan.for_methods:
            needed = Asked(asked.conditions, tuple(j for j in asked.nulls if j not in plan.for_methods))
            self._rows += evaluation.networks.rows(plan, asked) - evaluation.networks.rows(plan, needed)

    def weigh(self, evaluation: Evaluation) -> Plan:
        """The plan with the weights that the experts' predictions give them."""
        plan, cond, null = evaluation.plan, evaluation.cond, evaluation.null
        if not (sharing := plan.compared.get(self, ())):
            return plan
        x, alpha = evaluation.point.x, evaluation.point.alpha
        nulls = [null[plan.null_owners[j]] for j in plan.nulls]
        u = add_weighted(torch.zeros_like(x), nulls, [plan.reliabilities[j] for j in plan.nulls])
        shared = agreement_weights(
            [plan.weights[i] for i in sharing],
            [x - alpha * cond[i] for i in sharing],  # σ·ε_i
            x - alpha * u,
            self._setting.tau,
            self._setting.patch,
        )
        weights = [*plan.weights]
        for i, weight in zip(sharing, shared, strict=True):
            weights[i] = weight
        return plan.reweighted(weights)

    def maps(self, plan: Plan) -> Mapping[int, Tensor]:
        """Each compared expert's part of the positive weights, 0…1; 0 at places where all of them are 0."""
        sharing = plan.compared.get(self, ())
        total = total_of([plan.weights[i] for i in sharing])
        parts = {i: torch.as_tensor(plan.weights[i] / total) for i in sharing}
        return {i: part.nan_to_num(0.0) for i, part in parts.items()}


def agreement_weights(
    weights: Sequence[Coefficient], predictions: Sequence[Tensor], u: Tensor, tau: float, patch: int
) -> list[Tensor]:
    r"""Share the sum of positive weights by how far each expert departs from U, place by place.

    w_i(p) = W₊(p) · w_i(p) e^{−τ cos_i(p)} / Σ_k w_k(p) e^{−τ cos_k(p)},  W₊(p) = Σ_k w_k(p),

    where cos_i(p) is the smoothed cosine of ε_i and ε_U around p, see `smoothed_cosine`. W₊ stays the same at every
    place. Masks hold: an expert whose weight is 0 at a place gets nothing there.

    Args:
        weights: w_i ≥ 0, numbers or maps that broadcast to the sample.
        predictions: ε_i under the conditions, all multiplied by the same number, which may be any, shape (B, C, …).
        u: ε_U, multiplied by that number as well.
        tau: τ ≥ 0.
        patch: Side of the patch, odd.

    Returns:
        Maps of shape (B, 1, …), in the dtype of u.
    """
    logits = [_log(w) - tau * smoothed_cosine(eps, u, patch) for w, eps in zip(weights, predictions, strict=True)]
    stacked = torch.stack(torch.broadcast_tensors(*logits))
    total = torch.as_tensor(total_of(weights)).to(stacked)
    shared = torch.where(total > 0, total * stacked.softmax(0), torch.zeros_like(stacked))  # not NaN where none counts
    return [*shared.to(u.dtype)]


def smoothed_cosine(first: Tensor, second: Tensor, patch: int) -> Tensor:
    """The cosine of two samples in the patch around each place, over all channels, averaged over the patch once more.

    Patches lie in the last two dimensions, so that each frame of a video has its own, and are cut at the edges. Where
    one of the two is 0 in a whole patch the cosine is 0.

    Args:
        first: Shape (B, C, …); of three dimensions, the patch is a piece of the last.
        second: Of the same shape.
        patch: Side of the patch, odd.

    Returns:
        −1…1, shape (B, 1, …), in float32 at least.
    """
    one, other = (each.to(torch.promote_types(each.dtype, torch.float32)) for each in (first, second))
    product, *squares = (
        _patch_mean((a * b).sum(1, keepdim=True), patch) for a, b in ((one, other), (one, one), (other, other))
    )
    norm = squares[0].sqrt() * squares[1].sqrt()
    cosine = torch.where(norm > 0, product / norm, torch.zeros_like(norm)).clamp(-1.0, 1.0)
    return _patch_mean(cosine, patch)


def _patch_mean(values: Tensor, patch: int) -> Tensor:
    """Mean over the patch around each place, shape (B, 1, …)."""
    height = values.shape[-2] if values.ndim > 3 else 1
    planes = values.reshape(-1, 1, height, values.shape[-1])
    for kernel in ((patch, 1), (1, patch)):  # one after the other, which costs 2n and not n²
        padding = [side // 2 for side in kernel]
        planes = torch.nn.functional.avg_pool2d(planes, kernel, 1, padding, count_include_pad=False)
    return planes.reshape(values.shape)


def _log(weight: Coefficient) -> Coefficient:
    return weight.log() if isinstance(weight, Tensor) else math.log(weight)

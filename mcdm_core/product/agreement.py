"""Agreement weights: experts share their weight place by place, and most of it goes to whoever leaves U the most there.

Foteinopoulou, Budvytis & Liwicki, "LoRAtorio: An intrinsic approach to LoRA Skill Composition", 2025 (arXiv
2508.11624): asked about what it was not trained on, an adapter predicts what its base model does. There the patches are
a grid and the softmin is the whole weight; here every place has its own patch, and experts keep weights of their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .coefficients import Coefficient, total_of
from .span import Span

MOST_TAU = 10000.0
LARGEST_PATCH = 255


@dataclass(frozen=True, kw_only=True)
class Agreement(Span):
    """How the positive weights of a product are shared out among its experts. The defaults leave them as they are.

    Within the span (`start`, `end`, `sigma_start`, `sigma_end`, see `Span`), see `agreement_weights`. Where fewer than
    two experts of positive weight act, and outside a guidance interval (see `Passes`), weights stay.

    Attributes:
        tau: τ, how far a difference of cosines decides, 0…10000; at 0 weights stay.
        patch: Side of the square patch in values of a sample, odd, 1…255.

    Raises:
        ValueError: If a number cannot be used.
    """

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

    @property
    def acts(self) -> bool:
        """Whether weights may change at all."""
        return self.tau > 0

    def check_fixed(self) -> None:
        """Refuse weights that depend on the sample, where samples are weighed by what its factors count.

        Raises:
            ValueError: If they do.
        """
        if self.acts:
            raise ValueError(
                "Expected weights that stay as they are, by which particles can be weighed, and got agreement weights, "
                "which every sample decides for itself; set tau to 0, or use another sampler."
            )


PLAIN_WEIGHTS = Agreement()
"""The plain product."""


def agreement_weights(
    weights: Sequence[Coefficient], predictions: Sequence[Tensor], u: Tensor, tau: float, patch: int
) -> list[Tensor]:
    r"""Share the sum of positive weights out by how far each expert leaves U, place by place.

    w_i(p) = W₊(p) · w_i(p) e^{−τ cos_i(p)} / Σ_k w_k(p) e^{−τ cos_k(p)},  W₊(p) = Σ_k w_k(p),

    where cos_i(p) is the smoothed cosine of ε_i and ε_U around p, see `smoothed_cosine`. W₊ is kept at every place, and
    so a mask too: an expert whose weight is 0 at a place gets nothing there.

    Args:
        weights: w_i ≥ 0, numbers or maps that broadcast to the sample.
        predictions: ε_i under the conditions, or any multiple of them that all share, shape (B, C, …).
        u: The unconditional estimate in the same terms.
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

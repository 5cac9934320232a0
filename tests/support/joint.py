"""The product of experts of several spaces in plain loops, written from `docs/latent-spaces.md`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Said:
    """What the acting experts of one space say; numbers may be maps that broadcast to the predictions.

    Attributes:
        weights: w of each.
        shares: a of each, of all spaces' reliabilities.
        trust: The reliabilities as numbers, for places where all shares are 0.
        cond: The predictions under the conditions.
        null: The predictions under the nulls.
    """

    weights: Sequence[Tensor]
    shares: Sequence[Tensor]
    trust: Sequence[float]
    cond: Sequence[Tensor]
    null: Sequence[Tensor]


def joint_product(said: dict[Any, Said], reference: Any, carry: Callable[..., Tensor], own_null: bool = False) -> Any:
    """Σ W⁺ T(P) − W⁻ T(N) + (A − W) T(U) over the spaces, or by the own-null rule: x0 in the reference's space.

    Args:
        said: By space, those alone in which an expert acts.
        reference: The first expert's space.
        carry: T of a space, a clean sample, and the reference's sample whose details smaller pictures take, or None.
        own_null: Whether each condition is measured against its own null.
    """
    total: Any = 0.0
    finer = _finer(said[reference], own_null) if reference in said else None
    for space, own in said.items():
        total = total + _of_signs(own.weights, own.cond, lambda x0, space=space: carry(space, x0, finer))
        difference = [a - w for a, w in zip(own.shares, own.weights, strict=True)]
        if own_null:
            total = total + _of_signs(difference, own.null, lambda x0, space=space: carry(space, x0, finer))
        elif _counts(sum(difference)):
            total = total + sum(difference) * carry(space, _unconditional(own), finer)
    return total


def carried_picture(picture: Tensor, size: tuple[int, int], details: Tensor | None = None) -> Tensor:
    """A picture in another size; what a smaller one can't hold is taken from `details`, a picture of that size."""
    found = resized(picture, size)
    return found if details is None else found + details - resized(resized(details, picture.shape[-2:]), size)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[-2:]) == tuple(size) else F.interpolate(x, size, mode="bilinear", antialias=True)


def _of_signs(factors: Sequence[Tensor], predictions: Sequence[Tensor], carry: Callable[[Tensor], Tensor]) -> Any:
    """The means of what counts for, and of what counts against, each carried by itself."""
    total: Any = 0.0
    for sign in (1.0, -1.0):
        parts = [(sign * factor).clamp(min=0) for factor in factors]
        kept = [(part, x0) for part, x0 in zip(parts, predictions, strict=True) if part.any()]
        if kept:
            mean = _mean([part for part, _ in kept], [x0 for _, x0 in kept], [1.0] * len(kept))
            total = total + sign * sum(part for part, _ in kept) * carry(mean)
    return total


def _unconditional(own: Said) -> Tensor:
    """U of a space."""
    return _mean(own.shares, own.null, own.trust if sum(own.trust) else [1.0] * len(own.trust))


def _finer(own: Said, own_null: bool) -> Tensor | None:
    """The reference's sample whose details smaller pictures have: U, or P if no null is asked."""
    pairs = list(zip(own.shares, own.weights, strict=True))
    asked = [_counts(a - w) for a, w in pairs] if own_null else [_counts(sum(a - w for a, w in pairs))] * len(pairs)
    if any(asked):
        of = [place for place, is_asked in enumerate(asked) if is_asked]
        return _unconditional(Said(*([each[place] for place in of] for each in vars(own).values())))
    positive = [weight.clamp(min=0) for weight in own.weights]
    return _mean(positive, own.cond, [1.0] * len(positive)) if any(part.any() for part in own.weights) else None


def _counts(difference: Tensor) -> bool:
    return bool(difference.abs().max() > 1e-6)


def _mean(parts: Sequence[Tensor], predictions: Sequence[Tensor], otherwise: Sequence[float]) -> Tensor:
    """The mean of predictions by the parts, in their size; by `otherwise` where the parts are 0."""
    size = predictions[0].shape[-2:]
    local = [part if part.shape[-2:].numel() == 1 else resized(part, size) for part in parts]
    total, rest = sum(local), sum(otherwise)
    return sum(
        torch.where(total > 1e-6, part / total.clamp(min=1e-9), own / rest) * x0
        for part, own, x0 in zip(local, otherwise, predictions, strict=True)
    )

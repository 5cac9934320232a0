"""Overlap of parsed maps with the requested maps."""

from collections.abc import Callable

import numpy as np


def intersection_over_union(predicted: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two boolean maps; 1 where both are empty."""
    union = np.logical_or(predicted, truth).sum()
    return float(np.logical_and(predicted, truth).sum() / union) if union else 1.0


def f1_score(predicted: np.ndarray, truth: np.ndarray) -> float:
    """F1 (Dice) of two boolean maps; 1 where both are empty."""
    total = predicted.sum() + truth.sum()
    return float(2 * np.logical_and(predicted, truth).sum() / total) if total else 1.0


def mean_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """mIoU: IoU of each class, averaged over the classes that either map has.

    Classes that neither map has are left out; where no class is left, mIoU is 1. Labels (H, W) become maps by
    `labels == np.arange(classes)[:, None, None]`.

    Args:
        predicted: Boolean, (C, H, W): a map for each class. For the mIoU of a whole set, lay its pictures side by
            side: (C, N · H, W).
        truth: Boolean, (C, H, W).

    Returns:
        0 (no overlap) … 1 (equal).

    Raises:
        ValueError: The maps are not boolean (C, H, W) of one shape.
    """
    return _mean_over_classes(intersection_over_union, predicted, truth)


def mean_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    """F1 (Dice) of each class, averaged over the classes that either map has; all else as for `mean_iou`."""
    return _mean_over_classes(f1_score, predicted, truth)


def _mean_over_classes(
    measure: Callable[[np.ndarray, np.ndarray], float], predicted: np.ndarray, truth: np.ndarray
) -> float:
    if predicted.dtype != bool or truth.dtype != bool or predicted.ndim != 3 or predicted.shape != truth.shape:
        raise ValueError(
            "Maps of several classes have to be boolean, (C, H, W), both of one shape, but are "
            f"{predicted.dtype}, {predicted.shape} and {truth.dtype}, {truth.shape}; stack one map a class."
        )
    shown = (predicted | truth).any(axis=(1, 2))
    values = [measure(p, t) for p, t in zip(predicted[shown], truth[shown], strict=True)]
    return float(np.mean(values)) if values else 1.0


def boundary_f1(predicted: np.ndarray, truth: np.ndarray, tolerance: int = 1) -> float:
    """F1 of two boolean edge maps, (H, W), with a tolerance in position; 1 where both are empty.

    The measure of the Berkeley segmentation benchmark (Martin, Fowlkes and Malik, IEEE PAMI 26(5), 2004), but an edge
    may be matched by several.

    Args:
        predicted: Edges found.
        truth: True edges.
        tolerance: Pixels, down or across, up to which edges match.
    """
    if not predicted.any() or not truth.any():
        return float(predicted.any() == truth.any())
    precision = widened(truth, tolerance)[predicted].mean()
    recall = widened(predicted, tolerance)[truth].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A boolean mask (H, W) dilated by `pixels` down and across."""
    for axis in (0, 1):
        padded = np.pad(mask, [(pixels, pixels) if each == axis else (0, 0) for each in (0, 1)])
        mask = np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * pixels + 1, axis=axis).any(axis=-1))
    return mask

"""Overlap of parsed maps with the requested maps."""

import numpy as np


def intersection_over_union(predicted: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two boolean maps; 1 where both are empty."""
    union = np.logical_or(predicted, truth).sum()
    return float(np.logical_and(predicted, truth).sum() / union) if union else 1.0


def f1_score(predicted: np.ndarray, truth: np.ndarray) -> float:
    """F1 (Dice) of two boolean maps; 1 where both are empty."""
    total = predicted.sum() + truth.sum()
    return float(2 * np.logical_and(predicted, truth).sum() / total) if total else 1.0


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

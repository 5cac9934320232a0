"""Measures of maps and pictures."""

import numpy as np


def intersection_over_union(predicted: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two boolean maps; 1 where both are empty."""
    union = np.logical_or(predicted, truth).sum()
    return float(np.logical_and(predicted, truth).sum() / union) if union else 1.0


def f1_score(predicted: np.ndarray, truth: np.ndarray) -> float:
    """F1 (Dice) of two boolean maps; 1 where both are empty."""
    total = predicted.sum() + truth.sum()
    return float(2 * np.logical_and(predicted, truth).sum() / total) if total else 1.0


def boundary_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    """F1 of two boolean edge maps, (H, W), where an edge counts as found up to one pixel away; 1 where both are empty.

    The measure of the Berkeley segmentation benchmark (Martin, Fowlkes and Malik, IEEE PAMI 26(5), 2004), but an edge
    may be matched by several.
    """
    if not predicted.any() or not truth.any():
        return float(predicted.any() == truth.any())
    precision = _widen(truth)[predicted].mean()
    recall = _widen(predicted)[truth].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _widen(edges: np.ndarray) -> np.ndarray:
    """Pixels whose 3×3 neighbourhood holds an edge."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(np.pad(edges, 1), (3, 3)).any(axis=(-2, -1)))


def high_frequency_energy(images: np.ndarray) -> float:
    """Mean spectral power of the luma above half the Nyquist frequency.

    Args:
        images: uint8, (N, H, W, 3).

    Returns:
        Mean squared amplitude of the high-passed picture, pixel values in 0…1.
    """
    luma = images.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255
    height, width = luma.shape[1:]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    spectrum = np.fft.rfft2(luma) * (radius > 0.25)
    return float(np.square(np.fft.irfft2(spectrum, (height, width))).mean())


def flat_noise(images: np.ndarray, references: np.ndarray) -> float:
    """Mean standard deviation, in 0…255, of 3×3 patches that are flat in the reference's place.

    Args:
        images: uint8, (N, H, W, 3): pictures to judge.
        references: Boolean, (N, H, W): pixels whose whole 3×3 neighbourhood should be of one colour.

    Returns:
        The mean, NaN where no pixel is flat.
    """
    windows = np.lib.stride_tricks.sliding_window_view(images.astype(np.float32), (3, 3), axis=(1, 2))
    deviation = windows.std(axis=(-2, -1)).mean(axis=-1)
    flat = references[:, 1:-1, 1:-1]
    return float(deviation[flat].mean()) if flat.any() else float("nan")


def bootstrap_interval(values: np.ndarray, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of `values`, (N,)."""
    rng = np.random.default_rng(seed)
    means = np.asarray(values)[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)

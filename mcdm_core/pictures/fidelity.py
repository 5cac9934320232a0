"""Fidelity of pictures to their references, pixel by pixel."""

import numpy as np

_PEAK = 255.0


def peak_signal_to_noise(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """PSNR of pictures and their references: 10 · log10(255² / mean squared difference), in dB.

    Args:
        images: uint8, (N, H, W, 3).
        references: uint8, (N, H, W, 3).

    Returns:
        PSNR of each pair, float64, (N,); infinite for equal pictures.

    Raises:
        ValueError: The pictures are not uint8, or their shapes differ.
    """
    if images.dtype != np.uint8 or references.dtype != np.uint8 or images.shape != references.shape:
        raise ValueError(
            f"Every picture needs a reference of its size, both uint8, but pictures are {images.dtype}, "
            f"{images.shape}, and references {references.dtype}, {references.shape}; convert and resize them."
        )
    squares = np.square(images.astype(np.float64) - references).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(_PEAK**2 / squares))

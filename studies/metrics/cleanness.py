"""Noise of pictures: at high frequencies, and in areas that should be flat."""

import numpy as np


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
    """Mean standard deviation, in 0…255, of 3×3 patches that should be flat.

    Args:
        images: uint8, (N, H, W, 3): pictures to measure.
        references: Boolean, (N, H, W): pixels whose whole 3×3 neighbourhood should be of one colour.

    Returns:
        The mean, NaN where no pixel is flat.
    """
    windows = np.lib.stride_tricks.sliding_window_view(images.astype(np.float32), (3, 3), axis=(1, 2))
    deviation = windows.std(axis=(-2, -1)).mean(axis=-1)
    flat = references[:, 1:-1, 1:-1]
    return float(deviation[flat].mean()) if flat.any() else float("nan")

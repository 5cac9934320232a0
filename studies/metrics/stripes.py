"""Stripes: patterns of 2, 4 and 8 pixels over areas that should be flat."""

import functools
import itertools

import numpy as np

from .pictures import checked_pictures

PERIODS = (2, 4, 8)  # pixels
WINDOW = 16  # pixels, the side of the measured squares; a multiple of all periods
STEP = 8  # pixels from one square to the next
MARGIN = 4  # pixels around a square that must be free of edges, too
CALM = 6  # of 255: largest difference within square and margin of means over 8 × 8 pixels, which average stripes out


def stripes(images: np.ndarray, flat: np.ndarray | None = None) -> np.ndarray:
    """Deviation of pictures at periods of 2, 4 and 8 pixels, in areas that should be flat.

    In squares of 16 × 16 pixels, a plane and all waves whose periods down and across are 2, 4, 8 or none are fitted
    together by least squares; the result is the root of the waves' mean power over squares and colours. A sine of
    amplitude A has A/√2, a plane 0. Squares with an edge in or near them are left out: those in and around which means
    over 8 × 8 pixels, which no such wave changes, differ by more than `CALM`.

    Args:
        images: uint8, (N, H, W, 3).
        flat: Boolean, (N, H, W): squares must lie wholly within; None for anywhere.

    Returns:
        Deviation in 0…255, (N,); NaN where no square is flat.
    """
    areas = np.ones(checked_pictures(images).shape[:3], dtype=bool) if flat is None else flat
    return np.array([_stripes(*each) for each in zip(images, areas, strict=True)])


def flat_pixels(values: np.ndarray) -> np.ndarray:
    """Pixels whose whole 3 × 3 neighbourhood has one value.

    Args:
        values: Pictures or maps, (N, H, W, C).

    Returns:
        Boolean, (N, H, W); false at the borders.
    """
    height, width = values.shape[1:3]
    middle = values[:, 1:-1, 1:-1]
    same = np.ones(middle.shape[:3], dtype=bool)
    for down, across in itertools.product(range(3), repeat=2):
        same &= (values[:, down : height - 2 + down, across : width - 2 + across] == middle).all(axis=-1)
    return np.pad(same, ((0, 0), (1, 1), (1, 1)))


def _stripes(image: np.ndarray, area: np.ndarray) -> float:
    inner = slice(MARGIN, -MARGIN)
    chosen = _windows(area[inner, inner], WINDOW).all(axis=(-2, -1))
    means = _windows(_box_means(image), WINDOW + 2 * MARGIN - max(PERIODS) + 1)[chosen]
    calm = (np.ptp(means, axis=(-2, -1)) <= CALM).all(axis=-1)
    squares = _windows(image[inner, inner], WINDOW)[chosen][calm].astype(np.float32)  # (n, 3, 16, 16)
    if not len(squares):
        return float("nan")
    waves = squares.reshape(*squares.shape[:2], -1) @ _fit().T
    return float(np.sqrt(np.square(waves).sum(axis=-1).mean()))


def _windows(pixels: np.ndarray, side: int) -> np.ndarray:
    """(H, W, …) as (rows, columns, …, side, side)."""
    return np.lib.stride_tricks.sliding_window_view(pixels, (side, side), axis=(0, 1))[::STEP, ::STEP]


def _box_means(image: np.ndarray) -> np.ndarray:
    """Means over all squares of 8 × 8 pixels, (H − 7, W − 7, 3)."""
    side = max(PERIODS)
    sums = np.pad(image.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (boxes / side**2).round(6)


@functools.cache
def _fit() -> np.ndarray:
    """Matrix from the pixels of a square to its waves, scaled so that a wave's square is its power; (waves, 256)."""
    y, x = (axis.ravel() for axis in np.indices((WINDOW, WINDOW)))
    nyquist = WINDOW // 2
    frequencies = [0, nyquist, *(sign * WINDOW // period for period in PERIODS[1:] for sign in (1, -1))]
    waves = []
    for pair in itertools.product(frequencies, repeat=2):
        mirrored = tuple(k if k == nyquist else -k for k in pair)  # the same wave
        if pair >= mirrored and any(pair):
            angle = 2 * np.pi * (pair[0] * y + pair[1] * x) / WINDOW
            waves += [np.cos(angle)] if pair == mirrored else [np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)]
    inverse: np.ndarray = np.linalg.pinv(np.stack([np.ones(WINDOW**2), y, x, *waves], axis=1))
    return inverse[3:]

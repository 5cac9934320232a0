"""Fréchet distance of two sets of features."""

import numpy as np

from .bootstrap import Figure, pivotal_figure


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of two Gaussians fitted to the features.

    |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½), Eq. 6 of Heusel et al., "GANs Trained by a Two Time-Scale Update Rule
    Converge to a Local Nash Equilibrium" (NeurIPS 2017), with covariances over N − 1, in float64. It is FID only for
    the features of FID's own Inception-v3; of any others, name the network beside the figure.

    The estimate is biased: the distance of two finite sets of one distribution is above 0, by an amount that falls as
    1/N, depends on the features, and grows with their number D. Only compare sets of the same sizes, measured against
    the same reference; `frechet_figure` takes most of the bias off.

    Args:
        a: Features, (N, D), N ≥ 2.
        b: Features, (M, D), M ≥ 2.

    Returns:
        The distance, in squared units of the features: 0 for the same mean and covariance.

    Raises:
        ValueError: A set is not (N, D) with N ≥ 2, D differs between them, or a feature is not finite.
    """
    a, b = _checked(a), _checked(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"Both sets need features of the same length, but they have {a.shape[1]} and {b.shape[1]}; "
            "take both from the same network."
        )
    mean_difference = a.mean(axis=0) - b.mean(axis=0)
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    # With Σ = RᵀR, the eigenvalues of Σ_a Σ_b are the squared singular values of R_a R_bᵀ: no matrix root is needed,
    # and sets may be smaller than the number of features.
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = mean_difference @ mean_difference + np.square(root_a).sum() + np.square(root_b).sum() - 2 * overlap
    return max(float(distance), 0.0)


def frechet_figure(a: np.ndarray, b: np.ndarray, seed: int = 0, draws: int = 500) -> Figure:
    """Distance of the two distributions without most of the bias of finite sets, and its bootstrap interval.

    Both sets are resampled, see `pivotal_figure`. The value is usually smaller than `frechet_distance` of the same
    sets; negative values are set to 0. With 200 pictures and 64 features it is still 1 to 2 above the truth; with fewer
    pictures than features most of the bias would stay, so such sets are refused.

    Args:
        a: Features, (N, D).
        b: Features, (M, D).
        seed: Seed of the draws.
        draws: Number of resampled distances.

    Raises:
        ValueError: As `frechet_distance`, or a set has no more pictures than features.
    """
    a, b = _checked(a), _checked(b)
    fewest = min(len(a), len(b))
    if fewest <= a.shape[1]:
        raise ValueError(
            f"Expected more pictures than the {a.shape[1]} features of each and got {fewest}; take more pictures, or a "
            "network with fewer features."
        )
    figure = pivotal_figure(frechet_distance, (a, b), seed, draws)
    return Figure(max(figure.value, 0.0), max(figure.low, 0.0), max(figure.high, 0.0), figure.count)


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """R with RᵀR the covariance, (min(N, D), D)."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(
            f"Features have to be (N, D) with N of at least 2, but are {features.shape}; "
            "pass one row a picture, of two pictures or more."
        )
    if not np.isfinite(features).all():
        raise ValueError("Features have to be finite, but some are not; look for broken pictures.")
    return features

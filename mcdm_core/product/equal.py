"""Coefficients of a step after which all experts find the sample equally likely: a small linear system per sample.

Let m_i be the mean of the step that expert i would take by itself, m̄ the mean of these and d_i = m_i − m̄. By a step to
x' = m̄ + f Σ_i ω_i d_i + e the log density of expert i gains −‖x' − m_i‖²/2V, up to a constant that all share. With L_i
before the step, all are equal after it if

    f Σ_j ⟨d_i, d_j⟩ ω_j = ½‖d_i‖² − ⟨d_i, e⟩ − V L_i + const,  Σ_i ω_i = 1.

Noise that e holds is taken back along the experts' differences, and in no other direction. Skreta et al., "The
Superposition of Diffusion Models Using the Itô Density Estimator", ICLR 2025 (arXiv 2412.17762), ask this of the Itô
density estimator (their AND), with all the noise of the step.
"""

import torch
from torch import Tensor

_SAME = 1e-6
"""Squared distance relative to the largest, below which experts agree and differ only by rounding."""


def equal_density_weights(products: Tensor, along: Tensor, gaps: Tensor, strength: Tensor, farthest: float) -> Tensor:
    """The experts' coefficients ω; of several solutions the one nearest to equal coefficients.

    Args:
        products: ⟨d_i, d_j⟩ of n experts, shape (B, n, n), float64.
        along: ⟨d_i, e⟩, shape (B, n).
        gaps: V L_i, up to a constant that all share, shape (B, n).
        strength: f > 0, shape (B,).
        farthest: How much farther from m̄ than the farthest m_i the point of equal densities may be. A point beyond
            that is only approached up to there: for experts that nearly agree, or whose m_i lie on one line, it may be
            far away from all of them.

    Returns:
        Shape (B, n); rows sum to 1, entries may be below 0 or above 1.
    """
    squares = products.diagonal(dim1=1, dim2=2)
    centred = _centred(_centred(products, 1), 2)  # Σ_i d_i = 0 but for rounding
    inverse = torch.linalg.pinv(centred, rtol=_SAME, hermitian=True)
    wanted = _centred(squares / 2 - gaps, 1)
    distance = (wanted * _solved(inverse, wanted)).sum(1).clamp(min=0).sqrt()
    reach = squares.amax(1).sqrt() + farthest
    wanted = torch.where(distance > reach, reach / distance, 1.0)[:, None] * wanted
    return 1 / products.shape[1] + _solved(inverse, wanted - _centred(along, 1)) / strength[:, None]


def _centred(values: Tensor, dim: int) -> Tensor:
    return values - values.mean(dim, keepdim=True)


def _solved(inverse: Tensor, right: Tensor) -> Tensor:
    return (inverse @ right[..., None])[..., 0]

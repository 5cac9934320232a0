"""Prediction types: ε, x0, v and the velocity of a flow. Conversions between them are here and nowhere else.

All formulas hold for any x_t = α_t·x0 + σ_t·ε with (α_t, σ_t) ≠ 0, so variance-preserving, variance-exploding and
rectified-flow forms need no code of their own. α_t and σ_t are numbers or tensors that broadcast to x_t; see `per_row`.
"""

from typing import Protocol

from torch import Tensor

Scalar = Tensor | float


class Prediction(Protocol):
    """One way to parameterize a denoising network."""

    name: str

    def to_x0(self, output: Tensor, x_t: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """x0 computed from the network's output, shape of x_t."""

    def target(self, x0: Tensor, eps: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """Output that the network is trained towards, shape of x0."""


class Epsilon:
    """The network predicts the noise ε (Ho et al., 2020)."""

    name = "eps"

    def to_x0(self, output: Tensor, x_t: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """x0 = (x_t − σ_t ε)/α_t."""
        return (x_t - sigma_t * output) / alpha_t

    def target(self, x0: Tensor, eps: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """ε itself."""
        return eps


class Clean:
    """The network predicts x0."""

    name = "x0"

    def to_x0(self, output: Tensor, x_t: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """The output itself."""
        return output

    def target(self, x0: Tensor, eps: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """x0 itself."""
        return x0


class Velocity:
    """The network predicts v = α_t ε − σ_t x0 (Salimans & Ho, 2022)."""

    name = "v"

    def to_x0(self, output: Tensor, x_t: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """x0 = (α_t x_t − σ_t v)/(α_t² + σ_t²)."""
        return (alpha_t * x_t - sigma_t * output) / (alpha_t**2 + sigma_t**2)

    def target(self, x0: Tensor, eps: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """α_t ε − σ_t x0."""
        return alpha_t * eps - sigma_t * x0


class FlowVelocity:
    """The network predicts the straight path's direction ε − x0 (Liu et al., 2022)."""

    name = "flow"

    def to_x0(self, output: Tensor, x_t: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """x0 = (x_t − σ_t u)/(α_t + σ_t)."""
        return (x_t - sigma_t * output) / (alpha_t + sigma_t)

    def target(self, x0: Tensor, eps: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
        """ε − x0."""
        return eps - x0


PREDICTIONS: dict[str, Prediction] = {p.name: p for p in (Epsilon(), Clean(), Velocity(), FlowVelocity())}


def prediction_named(name: str) -> Prediction:
    """Prediction type by the name a checkpoint stores.

    Raises:
        ValueError: If the name is not a key of `PREDICTIONS`.
    """
    if name not in PREDICTIONS:
        raise ValueError(
            f"Expected a prediction type among {', '.join(PREDICTIONS)} and got {name!r}; correct the name."
        )
    return PREDICTIONS[name]


def eps_from_x0(x0: Tensor, x_t: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
    """ε = (x_t − α_t x0)/σ_t, the noise that a clean sample implies."""
    return (x_t - alpha_t * x0) / sigma_t


def output_from_x0(prediction: Prediction, x0: Tensor, x_t: Tensor, alpha_t: Scalar, sigma_t: Scalar) -> Tensor:
    """Network output that `prediction.to_x0` would turn into this x0: its inverse at a fixed x_t."""
    return prediction.target(x0, eps_from_x0(x0, x_t, alpha_t, sigma_t), alpha_t, sigma_t)

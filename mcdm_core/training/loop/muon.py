"""Muon, an optimizer whose steps are orthogonal matrices: of the same length in all directions of a weight matrix."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that drives singular values towards 1 fastest
_ITERATIONS = 5
_MOMENTUM = 0.95  # decay of Muon's momentum
_BETA_1, _BETA_2 = 0.9, 0.99  # decays of Adam's averages
_ADAM_SPREAD = 0.2  # usual root mean square of Adam's steps, relative to the learning rate


class Muon(torch.optim.Optimizer):
    """Muon for inner weights, Adam for all others.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): the momentum of a weight, a
    matrix of outputs times everything else, is replaced by the nearest orthogonal matrix. It is scaled to the size of
    Adam's steps (Liu et al., "Muon is scalable for LLM training", 2025), so that one learning rate suits both.

    Args:
        inner: Weights of two or more dimensions between the first layer and the last.
        others: First and last layers, biases and norms.
        lr: Learning rate of both.
    """

    def __init__(self, inner: Iterable[Tensor], others: Iterable[Tensor], lr: float):
        groups: list[dict[str, Any]] = [
            {"params": list(inner), "orthogonal": True},
            {"params": list(others), "orthogonal": False},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})

    @classmethod
    def of(cls, network: nn.Module, ends: tuple[str, ...], lr: float) -> "Muon":
        """The optimizer of a whole network.

        Args:
            network: Its weights of two or more dimensions are inner ones, except for those in `ends`.
            ends: Prefixes of the names of the first and last layers.
            lr: Learning rate.
        """
        inner: list[Tensor] = []
        others: list[Tensor] = []
        for name, weight in network.named_parameters():
            (inner if weight.ndim > 1 and not name.startswith(ends) else others).append(weight)
        return cls(inner, others, lr)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if group["orthogonal"]:
                self._step_inner(weights, group["lr"])
            else:
                for weight in weights:
                    self._step_other(weight, group["lr"])

    def _step_inner(self, weights: list[Tensor], rate: float) -> None:
        """Muon with Nesterov's look-ahead; matrices of one shape are made orthogonal together."""
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            average = state.setdefault("average", torch.zeros_like(weight))
            average.lerp_(weight.grad, 1 - _MOMENTUM)
            direction = weight.grad.lerp(average, _MOMENTUM).flatten(1)
            by_shape[direction.shape[0], direction.shape[1]].append((weight, direction))
        for shape, entries in by_shape.items():
            steps = orthogonalized(torch.stack([direction for _, direction in entries]))
            size = _ADAM_SPREAD * max(shape) ** 0.5
            for (weight, _), step in zip(entries, steps, strict=True):
                weight.sub_(step.view_as(weight), alpha=rate * size)

    def _step_other(self, weight: Tensor, rate: float) -> None:
        """Adam."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "average": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        state["step"] += 1
        state["average"].lerp_(weight.grad, 1 - _BETA_1)
        state["square"].lerp_(weight.grad.square(), 1 - _BETA_2)
        step = float(state["step"])
        spread = (state["square"] / (1 - _BETA_2**step)).sqrt_().add_(1e-8)
        weight.addcdiv_(state["average"], spread, value=-rate / (1 - _BETA_1**step))


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors, all singular values near 1 (0.7 to 1.2).

    A Newton–Schulz iteration: five times the quintic polynomial a·X + b·XXᵀX + c·(XXᵀ)²X. Its factors are polynomials
    of XXᵀ, which is smaller than a wide X, so the factors are multiplied first, and X only once.

    Args:
        matrices: Shape (B, rows, columns).
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    gram = x @ x.mT
    identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    product = identity
    for _ in range(_ITERATIONS):
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.mT if tall else x

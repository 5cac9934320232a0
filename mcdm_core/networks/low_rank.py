"""Low-rank changes of a network's weights, trained while the weights stay fixed (LoRA).

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021 (arXiv 2106.09685).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_CHANGED = (nn.Linear, nn.Conv1d, nn.Conv2d)
_WEIGHT = "weight"


class LowRank(nn.Module):
    """The change of one weight, up · down, as a parametrization; 0 at first.

    Args:
        weight: The weight, shape (O, I, …); only its shape is read. The factors are on the CPU, in single precision.
        rank: Rank of the change, limited by the weight's own.
    """

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        out_channels, *rest = weight.shape
        rank = min(rank, out_channels, math.prod(rest))
        self.down = nn.Parameter(torch.empty(rank, *rest))
        self.up = nn.Parameter(torch.zeros(out_channels, rank, *(1 for _ in rest[1:])))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight, of its own dtype; the factors may be of a finer one."""
        return (weight + change_of(self.down, self.up)).to(weight.dtype)


def change_of(down: Tensor, up: Tensor) -> Tensor:
    """The change of a weight by two factors, up · down.

    Args:
        down: Shape (R, I, …).
        up: Shape (O, R) or (O, R, 1, …).

    Returns:
        Shape (O, I, …).
    """
    return (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])


def add_low_rank(network: nn.Module, rank: int) -> None:
    """Give the weights of all linear layers and convolutions trainable changes, and freeze everything else.

    Args:
        network: Changed in place; its predictions stay the same at first.
        rank: Rank of the changes.
    """
    network.requires_grad_(False)
    for layer in [layer for layer in network.modules() if isinstance(layer, _CHANGED)]:
        change = LowRank(layer.weight, rank).to(layer.weight.device)  # drawn on the CPU: a seed is the same everywhere
        parametrize.register_parametrization(layer, _WEIGHT, change)


def low_rank_of(network: nn.Module) -> dict[str, LowRank]:
    """Layer → the change of its weight, in a network with changes from `add_low_rank`."""
    suffix = f".parametrizations.{_WEIGHT}.0"
    return {
        name.removesuffix(suffix): module for name, module in network.named_modules() if isinstance(module, LowRank)
    }


def load_base(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Load the fixed weights below the changes, and all tensors without a change.

    Args:
        network: A network with changes from `add_low_rank`.
        state: State of the same network without changes.

    Raises:
        RuntimeError: It is the state of another network.
    """
    changes = low_rank_of(network)
    renamed = {
        f"{layer}.parametrizations.{_WEIGHT}.original" if layer in changes and name == f"{layer}.{_WEIGHT}" else name: t
        for name, t in state.items()
        for layer in [name.rpartition(".")[0]]
    }
    own = {name: tensor for name, tensor in network.state_dict().items() if name.split(".")[-1] in ("down", "up")}
    network.load_state_dict(renamed | {name: own[name] for name in own if name not in renamed})

"""What tests of Gaussian experts need beside `mcdm_core.expert.gaussian`."""

import torch
from torch import Tensor, nn

from mcdm_core import Expert


def recorded(expert: Expert) -> Expert:
    """The Gaussian expert, with the rows of each call in `network.batches` and its noise level in `network.levels`."""
    network = expert.network
    network.batches, network.levels = [], []

    def record(network: nn.Module, arguments: tuple[Tensor, Tensor]) -> None:
        x_t, t = arguments
        network.batches.append(len(x_t))
        network.levels.append(network.schedule.sigma(t).flatten()[0].item())

    network.register_forward_pre_hook(record)
    return expert


def samples(*values: float) -> Tensor:
    """One-pixel samples of one channel, shape (B, 1, 1, 1)."""
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)

"""Trains a LoRA: low-rank changes of an expert's weights, which stay fixed."""

import torch
from torch import Tensor, nn

from ...networks import UNet
from ...networks.low_rank import add_low_rank, load_base
from .trainer import Trainer


def adapter_optimizer(network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimizer of what learns in a network; without weight decay, which would pull a change towards 0."""
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.optim.AdamW(learning, lr=rate, betas=(0.9, 0.99), weight_decay=0.0)


class AdapterTrainer(Trainer):
    """One run of a configuration with an `[adapter]`, as of `Trainer`; call `start_from` or `resume` first."""

    def make_network(self) -> UNet:
        """The network with random weights that stay fixed, and with changes that are 0."""
        assert self.config.adapter is not None
        network = super().make_network()
        add_low_rank(network, self.config.adapter.rank)
        return network

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW of the changes alone."""
        return adapter_optimizer(self.network, self.config.optimizer.learning_rate)

    def start_from(self, state: dict[str, Tensor], step: int = 0) -> None:
        """Begin with the weights of an expert.

        Raises:
            ValueError: They are another network's.
        """
        try:
            for network in (self.network, self.average):
                load_base(network, state)
        except RuntimeError as error:
            raise ValueError(
                "Expected [network] to be that of the expert in start, whose weights stay, and it is another one; copy "
                "the section of the expert's own configuration."
            ) from error
        self.step = step

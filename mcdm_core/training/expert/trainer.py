"""Trains the network of an expert: denoising score matching with condition dropout."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...diffusion.prediction import prediction_named
from ...networks import UNet
from ..config import TrainingConfig
from ..data.sources import Source
from ..loop.muon import Muon
from ..loop.picture_run import PictureRun
from .held_out import Decode, HeldOutReport
from .objective import Objective, trained_schedule

STEM = "input_blocks.0.0.weight"
_LAYOUT = torch.channels_last  # a tenth faster on a CPU
_BRANCHES = ("label_emb.", "pooled_proj.")  # of conditions: zeros are no condition, and learn one
_ENDS = ("input_blocks.0.", "out.", *_BRANCHES)  # layers that touch samples or conditions


def adapt_state(state: dict[str, Tensor], network: UNet) -> dict[str, Tensor]:
    """Fit the weights of a network to one with other conditions.

    New input channels of the stem and branches of conditions that the old network lacks start at zero, so that the
    first prediction is the old network's; branches that it alone has are left out.

    Raises:
        ValueError: Other layers differ, or a tensor differs in shape by more than new input channels of the stem.
    """
    own = network.state_dict()
    strangers = sorted(key for key in own.keys() ^ state.keys() if not key.startswith(_BRANCHES))
    if strangers:  # zeros in them would never learn
        owner = "this network" if strangers[0] in own else "the starting weights"
        raise ValueError(
            f"Expected starting weights of this network's layers, and {strangers[0]} is one of {owner} alone; start "
            "from an expert of the same width and depth."
        )
    adapted = {}
    for key, target in own.items():
        source = state.get(key)
        if source is not None and source.shape == target.shape:
            adapted[key] = source
        elif source is None:
            adapted[key] = torch.zeros_like(target)
        elif key == STEM and source.shape[1] < target.shape[1] and source[:, 0].shape == target[:, 0].shape:
            adapted[key] = torch.zeros_like(target)
            adapted[key][:, : source.shape[1]] = source
        else:
            raise ValueError(
                f"The starting weights have {key} of shape {tuple(source.shape)}, this network {tuple(target.shape)}; "
                "start from an expert of the same width and depth."
            )
    return adapted


class Trainer(PictureRun[TrainingConfig, UNet]):
    """One run of an expert's configuration.

    Args:
        config: The run.
        source: Its batches.
        held_out: Pictures it does not train on.
        folder: Folder of its state and logs.
        decode: Decodes samples, see `HeldOutReport`.
    """

    grows = True

    def __init__(
        self, config: TrainingConfig, source: Source, held_out: Source, folder: Path, decode: Decode | None = None
    ):
        self.objective = Objective(
            trained_schedule(config.schedule), prediction_named(config.prediction), config.optimizer.autocast
        )
        super().__init__(config, source, HeldOutReport(config, held_out, self.objective, folder, decode), folder)

    def make_network(self) -> UNet:
        """A UNet with random weights."""
        return UNet(self.config.network).to(memory_format=_LAYOUT)  # type: ignore[call-overload]

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Muon for inner weights and Adam for the others, or AdamW for all."""
        rate = self.config.optimizer.learning_rate
        if self.config.optimizer.muon:
            return Muon.of(self.network, _ENDS, rate)
        return torch.optim.AdamW(self.network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)

    def start_from(self, state: dict[str, Tensor], step: int = 0) -> None:
        """Start from the given weights, as if `step` steps were done.

        Raises:
            ValueError: See `adapt_state`.
        """
        state = adapt_state(state, self.network)
        self.network.load_state_dict(state)
        self.average.load_state_dict(state)
        self.step = step

    def train_step(self) -> tuple[float]:
        """One optimizer step on a batch, with the objective's noise; returns the loss."""
        x0, condition, rng = self.next_batch()
        x0 = x0.contiguous(memory_format=_LAYOUT)
        # Dropout inside the network draws from torch's own generator, so a resumed run has to seed it for each step.
        seeds = np.random.SeedSequence((self.config.optimizer.seed, self.step))
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        loss = self.objective(self.network, x0, condition, rng)
        self.descend(loss)
        return (loss.item(),)

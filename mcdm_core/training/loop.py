"""The training loop: denoising score matching with EMA, condition dropout and exact resumption."""

import copy
import logging
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..networks import UNet
from ..prediction import prediction_named
from .config import OptimizerConfig, TrainingConfig
from .dropout import drop_rows
from .held_out import HeldOutReport
from .interrupts import deferred_interrupts
from .logs import CsvLog
from .objective import Objective, trained_schedule
from .sources import Source

log = logging.getLogger(__name__)

STATE_FILE = "state.pt"
STEM = "input_blocks.0.0.weight"


def learning_rate_factor(step: int, config: OptimizerConfig) -> float:
    """Linear warm-up, a plateau, linear decay to zero; a fraction of the peak rate."""
    warmup = (step + 1) / max(config.warmup, 1)
    decay_start = config.decay_from * config.steps
    decay = (config.steps - step) / max(config.steps - decay_start, 1)
    return max(min(1.0, warmup, decay), 0.0)


def adapt_state(state: dict[str, Tensor], network: UNet) -> dict[str, Tensor]:
    """Fit the weights of a network without conditions to one that has them.

    New input channels of the stem start at zero, as do branches the old network lacks, so that the first prediction is
    the old network's.

    Raises:
        ValueError: A tensor has another shape, and more than input channels that the old stem lacks.
    """
    adapted = {}
    for key, target in network.state_dict().items():
        source = state.get(key)
        if source is not None and source.shape == target.shape:
            adapted[key] = source
        elif source is None:
            adapted[key] = torch.zeros_like(target)
        elif key == STEM and _only_fewer_inputs(source.shape, target.shape):
            adapted[key] = torch.zeros_like(target)
            adapted[key][:, : source.shape[1]] = source
        else:
            raise ValueError(
                f"The starting weights have {key} of shape {tuple(source.shape)}, this network {tuple(target.shape)}; "
                "start from an expert of the same width and depth."
            )
    return adapted


def _only_fewer_inputs(source: torch.Size, target: torch.Size) -> bool:
    return source[1] < target[1] and (source[0], *source[2:]) == (target[0], *target[2:])


class Trainer:
    """One run of a configuration.

    Args:
        config: The run.
        source: Its batches.
        held_out: Pictures it does not train on.
        folder: Where its state and its logs are kept.
    """

    def __init__(self, config: TrainingConfig, source: Source, held_out: Source, folder: Path):
        self.config = config
        self.source = source
        self.folder = folder
        self.objective = Objective(
            trained_schedule(config.schedule), prediction_named(config.prediction), config.optimizer.autocast
        )
        self.report = HeldOutReport(config, held_out, self.objective, folder)
        self.log = CsvLog(folder / "loss.csv", "step", "loss")
        torch.manual_seed(config.optimizer.seed)
        self.network = UNet(config.network)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.optimizer.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
        )
        self.step = 0

    @property
    def state_path(self) -> Path:
        """Everything needed to go on after an interruption."""
        return self.folder / STATE_FILE

    def start_from(self, state: dict[str, Tensor], step: int = 0) -> None:
        """Begin with the given weights, as if `step` steps were done.

        Raises:
            ValueError: See `adapt_state`.
        """
        state = adapt_state(state, self.network)
        self.network.load_state_dict(state)
        self.average.load_state_dict(state)
        self.step = step

    def save(self) -> None:
        """Write the run's state, replacing the previous one only when it is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.state_path.with_suffix(".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
            },
            partial,
        )
        partial.replace(self.state_path)

    def resume(self) -> None:
        """Continue from the saved state.

        Raises:
            ValueError: It is the state of another network.
        """
        state = torch.load(self.state_path, map_location="cpu", weights_only=True)
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.state_path} is the state of a network other than [network] describes; restore the "
                "configuration, or remove the file to begin anew."
            ) from error
        self.step = state["step"]
        self.log.rewind(self.step)
        self.report.log.rewind(self.step)
        log.info("Resuming %s at step %d", self.config.name, self.step)

    def train_step(self) -> float:
        """One optimizer step; returns the loss."""
        options = self.config.optimizer
        # A generator of the step's own makes a resumed run draw exactly what an uninterrupted one would.
        rng = np.random.default_rng((options.seed, self.step))
        modalities = self.config.data.trained or self.config.data.modalities
        modality = modalities[self.step % len(modalities)] if modalities else None
        x0, condition = self.source.batch(modality, options.batch_size, rng)
        condition = drop_rows(condition, options.condition_dropout, rng)
        # Dropout inside the network draws from torch's own generator, which a resumed run has to find as it was.
        torch.manual_seed(int(np.random.SeedSequence((options.seed, self.step)).generate_state(1)[0]))
        loss = self.objective(self.network, x0, condition, rng)
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate * learning_rate_factor(self.step, options)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._update_average(options.ema)
        return loss.item()

    @torch.no_grad()
    def _update_average(self, decay: float) -> None:
        decay = min(decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def run(self, save_every: int = 250) -> None:
        """Train to the configured number of steps, saving on the way and on interruption.

        Raises:
            KeyboardInterrupt: The run was interrupted; its state is saved.
            RuntimeError: The loss is no longer finite.
        """
        steps = self.config.optimizer.steps
        losses: list[float] = []
        with (
            deferred_interrupts() as interrupted,
            tqdm(total=steps, initial=self.step, desc=self.config.name, unit="step") as bar,
        ):
            while self.step < steps:
                losses.append(self.train_step())
                bar.update()
                if self.step % self.config.report.every == 0:
                    bar.set_postfix(loss=f"{self._log(losses):.4f}")
                    losses.clear()
                if self._is_reported():
                    self.report.write(self.average, self.step)
                if interrupted():
                    self.save()
                    log.warning("Interrupted at step %d; run again with --resume to go on.", self.step)
                    raise KeyboardInterrupt
                if self.step % save_every == 0:
                    self.save()
        self.save()

    def _log(self, losses: list[float]) -> float:
        mean = float(np.mean(losses))
        if not math.isfinite(mean):
            raise RuntimeError(f"The loss of {self.config.name} diverged at step {self.step}.")
        self.log.add(self.step, f"{mean:.5f}")
        return mean

    def _is_reported(self) -> bool:
        every = self.config.report.held_out_every
        return every > 0 and (self.step % every == 0 or self.step == self.config.optimizer.steps)

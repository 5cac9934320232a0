"""The training loop: denoising score matching with EMA, condition dropout and exact resumption."""

import copy
import logging
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..condition import Condition
from ..networks import UNet
from ..prediction import prediction_named
from ..schedule import Schedule
from .config import OptimizerConfig, TrainingConfig
from .sources import Source

log = logging.getLogger(__name__)


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
        ValueError: A tensor differs in anything but the stem's input channels.
    """
    adapted = {}
    for key, target in network.state_dict().items():
        source = state.get(key)
        if source is not None and source.shape == target.shape:
            adapted[key] = source
        elif source is None or key == "input_blocks.0.0.weight":
            adapted[key] = torch.zeros_like(target)
            if source is not None:
                adapted[key][:, : source.shape[1]] = source
        else:
            raise ValueError(
                f"The starting weights have {key} of shape {tuple(source.shape)}, this network {tuple(target.shape)}; "
                "start from an expert of the same width and depth."
            )
    return adapted


def drop_rows(condition: Condition, share: float, rng: np.random.Generator) -> Condition:
    """Set a random share of the rows to the null condition (zeros), as classifier-free guidance needs."""

    def dropped(value: Tensor | None) -> Tensor | None:
        if value is None:
            return None
        keep = torch.from_numpy(rng.random(len(value)) >= share)
        return value * keep.view(-1, *[1] * (value.ndim - 1))

    return Condition(
        maps=dropped(condition.maps), embedding=dropped(condition.embedding), text_active=condition.text_active
    )


class Trainer:
    """One run of a configuration.

    Args:
        config: The run.
        source: Its batches.
        folder: Where its state is kept.
    """

    def __init__(self, config: TrainingConfig, source: Source, folder: Path):
        self.config = config
        self.source = source
        self.folder = folder
        self.schedule = Schedule.named(config.schedule)
        self.prediction = prediction_named(config.prediction)
        torch.manual_seed(config.optimizer.seed)
        self.network = UNet(config.network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.optimizer.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
        )
        self.step = 0

    @property
    def state_path(self) -> Path:
        """Everything needed to go on after an interruption."""
        return self.folder / "state.pt"

    def start_from(self, state: dict[str, Tensor]) -> None:
        """Begin with the given weights."""
        state = adapt_state(state, self.network)
        self.network.load_state_dict(state)
        self.average.load_state_dict(state)

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
        """Continue from the saved state."""
        state = torch.load(self.state_path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        log.info("Resuming %s at step %d", self.config.name, self.step)

    def loss(self, x0: Tensor, condition: Condition, rng: np.random.Generator) -> Tensor:
        """Mean squared error of the prediction at uniformly drawn timesteps."""
        size = len(x0)
        t = torch.from_numpy(rng.uniform(0, len(self.schedule.alphas_cumprod) - 1, size))
        noise = torch.from_numpy(rng.standard_normal(x0.shape, dtype=np.float32))
        alpha_t, sigma_t = (value.float().view(-1, 1, 1, 1) for value in self.schedule.alpha_sigma(t))
        x_t = alpha_t * x0 + sigma_t * noise
        target = self.prediction.target(x0, noise, alpha_t, sigma_t)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.optimizer.autocast):
            output = self.network(x_t, t.float(), **condition.kwargs())
        return (output.float() - target).square().mean()

    def train_step(self) -> float:
        """One optimizer step; returns the loss."""
        options = self.config.optimizer
        # A generator of the step's own makes a resumed run draw exactly what an uninterrupted one would.
        rng = np.random.default_rng((options.seed, self.step))
        modalities = self.config.data.modalities
        modality = modalities[self.step % len(modalities)] if modalities else None
        x0, condition = self.source.batch(modality, options.batch_size, rng)
        loss = self.loss(x0, drop_rows(condition, options.condition_dropout, rng), rng)
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

    def run(self, log_every: int = 100, save_every: int = 250) -> None:
        """Train to the configured number of steps, saving on the way and on interruption.

        Raises:
            RuntimeError: The loss is no longer finite.
        """
        losses: list[float] = []
        with tqdm(total=self.config.optimizer.steps, initial=self.step, desc=self.config.name, unit="step") as bar:
            try:
                while self.step < self.config.optimizer.steps:
                    losses.append(self.train_step())
                    bar.update()
                    if self.step % log_every == 0:
                        mean = float(np.mean(losses))
                        losses.clear()
                        if not math.isfinite(mean):
                            raise RuntimeError(f"The loss of {self.config.name} diverged at step {self.step}.")
                        bar.set_postfix(loss=f"{mean:.4f}")
                        self._log_line(mean)
                    if self.step % save_every == 0:
                        self.save()
            except KeyboardInterrupt:
                log.warning("Interrupted at step %d; run again with --resume to go on.", self.step)
                self.save()
                raise
        self.save()

    def _log_line(self, loss: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "loss.csv").open("a", encoding="utf-8") as file:
            file.write(f"{self.step},{loss:.5f}\n")

"""The loop of a training run: batches, an average of the weights, logs, and exact resumption."""

import copy
import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..expert.condition import Condition
from .config import DataConfig, OptimizerConfig, ReportConfig
from .dropout import drop_rows
from .interrupts import deferred_interrupts
from .logs import CsvLog
from .sources import Source

log = logging.getLogger(__name__)

STATE_FILE = "state.pt"

_WITHOUT_INFLUENCE = ("name", "report", "card", "half")  # on the weights that a run comes to


class RunConfig(Protocol):
    """What every run is configured by; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """Names the run's folder."""

    @property
    def data(self) -> DataConfig:
        """Pictures and conditions."""

    @property
    def optimizer(self) -> OptimizerConfig:
        """Training."""

    @property
    def report(self) -> ReportConfig:
        """What is logged."""


Network = TypeVar("Network", bound=nn.Module)
Reported = TypeVar("Reported", bound=nn.Module, contravariant=True)
Config = TypeVar("Config", bound=RunConfig)


class Report(Protocol[Reported]):
    """What a run shows of itself on pictures it does not train on."""

    log: CsvLog

    def write(self, network: Reported, step: int) -> object:
        """Measure and sample the averaged network after `step` steps."""


def goes_on(folder: Path, resume: str | None) -> bool:
    """Whether a run goes on from the state in its folder.

    Args:
        folder: The run's.
        resume: None to begin; "state" to go on, or to begin where there is no state; or a file to begin with.

    Raises:
        ValueError: There is a state, and `resume` is None.
    """
    state = folder / STATE_FILE
    if state.exists() and resume is None:
        raise ValueError(f"{state} holds an earlier run; add --resume to go on with it, or remove it.")
    return resume == "state" and state.exists()


def learning_rate_factor(step: int, config: OptimizerConfig) -> float:
    """Linear warm-up, a plateau, linear decay to zero; a fraction of the peak rate."""
    warmup = (step + 1) / max(config.warmup, 1)
    decay_start = config.decay_from * config.steps
    decay = (config.steps - step) / max(config.steps - decay_start, 1)
    return max(min(1.0, warmup, decay), 0.0)


def deciding(config: RunConfig) -> dict[str, Any]:
    """What of a configuration decides the weights, as JSON reads it back."""
    values = {name: value for name, value in asdict(config).items() if name not in _WITHOUT_INFLUENCE}
    if config.data.kind == "folder":
        values["report"] = {"held_out": config.report.held_out_count}  # they are taken out of the folder
    if not config.optimizer.muon:
        del values["optimizer"]["muon"]  # states of earlier versions don't say it
    read_back: dict[str, Any] = json.loads(json.dumps(values))
    return read_back


class TrainingRun(ABC, Generic[Config, Network]):
    """One run of a configuration; a subclass makes the network, its optimizer and a step.

    Args:
        config: The run.
        source: Its batches.
        report: Looks at the average now and then.
        folder: Where its state and its logs are kept.
        losses: Names of what a step returns, columns of `loss.csv`.
    """

    def __init__(
        self, config: Config, source: Source, report: Report[Network], folder: Path, losses: Sequence[str] = ("loss",)
    ):
        self.config = config
        self.source = source
        self.report = report
        self.folder = folder
        self.log = CsvLog(folder / "loss.csv", "step", *losses)
        torch.manual_seed(config.optimizer.seed)
        self.network = self.make_network()
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizer = self.make_optimizer()
        self.step = 0

    @abstractmethod
    def make_network(self) -> Network:
        """The network, of random weights."""

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of its weights."""

    @abstractmethod
    def train_step(self) -> Sequence[float]:
        """One optimizer step; returns the losses."""

    @property
    def state_path(self) -> Path:
        """Everything needed to go on after an interruption."""
        return self.folder / STATE_FILE

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
                "config": json.dumps(deciding(self.config)),
            },
            partial,
        )
        partial.replace(self.state_path)

    def resume(self) -> None:
        """Continue from the saved state.

        Raises:
            ValueError: It is the state of another configuration or network.
        """
        state = torch.load(self.state_path, map_location="cpu", weights_only=True)
        if "config" in state:  # states of earlier versions have none
            self._check_same(json.loads(state["config"]))
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.state_path} is the state of a network other than the configuration describes; restore the "
                "configuration, or remove the file to begin anew."
            ) from error
        self.step = state["step"]
        self.log.rewind(self.step)
        self.report.log.rewind(self.step)
        log.info("Resuming %s at step %d", self.config.name, self.step)

    def _check_same(self, saved: dict[str, Any]) -> None:
        """A run that changes on the way comes to weights that no configuration would come to again."""
        own = deciding(self.config)
        differing = [name for name in {**own, **saved} if own.get(name) != saved.get(name)]
        if differing:
            sections = [f"[{name}]" if isinstance(own.get(name), dict) else name for name in differing]
            raise ValueError(
                f"{self.state_path} is the state of a run of another configuration, which differs in "
                f"{', '.join(sections)}; restore the configuration, or remove the file to begin anew (--resume FILE "
                "goes on from an expert's weights)."
            )

    def next_batch(self) -> tuple[Tensor, Condition, np.random.Generator]:
        """The step's pictures and conditions, some of which are dropped, and its source of all other randomness.

        A generator of the step's own makes a resumed run draw exactly what an uninterrupted one would.
        """
        options, data = self.config.optimizer, self.config.data
        rng = np.random.default_rng((options.seed, self.step))
        modalities = data.trained or data.modalities
        modality = modalities[self.step % len(modalities)] if modalities else None
        x0, condition = self.source.batch(modality, options.batch_size, rng)
        return x0, drop_rows(condition, options.condition_dropout, rng), rng

    @torch.no_grad()
    def finish_step(self) -> None:
        """Count the step, and move the average of the weights."""
        self.step += 1
        decay = min(self.config.optimizer.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def run(self, save_every: int = 250) -> None:
        """Train to the configured number of steps, saving on the way and on interruption.

        Raises:
            KeyboardInterrupt: The run was interrupted; its state is saved.
            RuntimeError: A loss is no longer finite.
        """
        steps = self.config.optimizer.steps
        losses: list[Sequence[float]] = []
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

    def _log(self, losses: Sequence[Sequence[float]]) -> float:
        """Log the means of all losses; returns the first."""
        means = np.mean(losses, axis=0).tolist()
        if not all(map(math.isfinite, means)):
            raise RuntimeError(f"The loss of {self.config.name} diverged at step {self.step}.")
        self.log.add(self.step, *(f"{mean:.5f}" for mean in means))
        return float(means[0])

    def _is_reported(self) -> bool:
        every = self.config.report.held_out_every
        return every > 0 and (self.step % every == 0 or self.step == self.config.optimizer.steps)

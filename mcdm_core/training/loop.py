"""The loop of a training run: batches, an average of the weights, logs, and exact resumption."""

import copy
import json
import logging
import math
import pickle
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
from ..system.failures import ForeseenError, is_out_of_memory
from ..system.formats import write_state
from ..system.writer import make_folder
from .config import DataConfig, OptimizerConfig, ReportConfig
from .dropout import drop_rows
from .interrupts import deferred_interrupts
from .logs import CsvLog
from .run_folder import STATE_FILE
from .sources import Source

log = logging.getLogger(__name__)

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


class TrainingReport(Protocol[Reported]):
    """What a run shows of itself on pictures it does not train on."""

    log: CsvLog

    def write(self, network: Reported, step: int) -> object:
        """Measure and sample the averaged network after `step` steps."""


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
    usual = DataConfig(config.data.kind)
    for name in ("share", "named"):  # nor these
        if values["data"][name] == getattr(usual, name):
            del values["data"][name]
    if values.get("adapter") is None:
        values.pop("adapter", None)
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
        self,
        config: Config,
        source: Source,
        report: TrainingReport[Network],
        folder: Path,
        losses: Sequence[str] = ("loss",),
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
        self.losses: list[Sequence[float]] = []  # of the steps since the last row of the log

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
        """Write the run's state.

        Raises:
            WriteError: It could not be written; the previous one is unchanged.
        """
        make_folder(self.folder)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "losses": [list(losses) for losses in self.losses],
            "config": json.dumps(deciding(self.config)),
        }
        write_state(self.state_path, state)

    def resume(self) -> None:
        """Continue from the saved state.

        Raises:
            ValueError: It is the state of another configuration or network, or is damaged.
        """
        state = self._read_state()
        if "config" in state:  # states of earlier versions have none
            self._check_same(json.loads(state["config"]))
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.state_path} is the state of a network other than the configuration describes; restore the "
                "configuration, or add --overwrite instead of --resume to begin anew."
            ) from error
        self.step = state["step"]
        self.losses = state.get("losses", [])  # states of earlier versions have none
        log.info("Resuming %s at step %d", self.config.name, self.step)

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self.state_path, map_location="cpu", weights_only=True)
            missing = {"network", "average", "optimizer", "step"} - state.keys()
        except (RuntimeError, EOFError, AttributeError, pickle.UnpicklingError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            missing = {"what torch.save writes"}
        if missing:
            raise ValueError(
                f"{self.state_path} is damaged or is no state of a run (it lacks {', '.join(sorted(missing))}); go on "
                "from the run's expert file (--resume FILE), or add --overwrite instead of --resume to begin anew."
            )
        return state

    def _check_same(self, saved: dict[str, Any]) -> None:
        """A run that changes on the way comes to weights that no configuration would come to again."""
        own = deciding(self.config)
        differing = [name for name in {**own, **saved} if own.get(name) != saved.get(name)]
        if differing:
            sections = [f"[{name}]" if isinstance(own.get(name), dict) else name for name in differing]
            raise ValueError(
                f"{self.state_path} is the state of a run of another configuration, which differs in "
                f"{', '.join(sections)}; restore the configuration, or add --overwrite instead of --resume "
                "to begin anew (--resume FILE goes on from an expert's weights)."
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

        Rows of the logs that are later than the step to begin with are dropped.

        Raises:
            KeyboardInterrupt: The run was interrupted; its state is saved.
            ForeseenError: A loss is no longer finite.
            WriteError: The disk is full; the last state saved is unchanged.
        """
        steps = self.config.optimizer.steps
        self.log.rewind(self.step)
        self.report.log.rewind(self.step)
        with (
            deferred_interrupts() as interrupted,
            tqdm(total=steps, initial=self.step, desc=self.config.name, unit="step") as bar,
        ):
            while self.step < steps:
                self.losses.append(self._finite(self.train_step()))
                bar.update()
                if self.step % self.config.report.every == 0:
                    bar.set_postfix(loss=f"{self._log():.4f}")
                if self._is_reported():
                    self.report.write(self.average, self.step)
                if interrupted():
                    self.save()
                    raise KeyboardInterrupt(f"Interrupted at step {self.step}; run again with --resume to go on.")
                if self.step % save_every == 0:
                    self.save()
        self.save()

    def _finite(self, losses: Sequence[float]) -> Sequence[float]:
        """The losses of a step; of one that diverges nothing is saved."""
        if not all(map(math.isfinite, losses)):
            raise ForeseenError(
                f"The loss of {self.config.name} diverged at step {self.step}; lower learning_rate or lengthen warmup."
            )
        return losses

    def _log(self) -> float:
        """Log the means of all losses since the last row; returns the first."""
        means = np.mean(self.losses, axis=0).tolist()
        self.log.add(self.step, *(f"{mean:.5f}" for mean in means))
        self.losses.clear()
        return float(means[0])

    def _is_reported(self) -> bool:
        every = self.config.report.held_out_every
        return every > 0 and (self.step % every == 0 or self.step == self.config.optimizer.steps)

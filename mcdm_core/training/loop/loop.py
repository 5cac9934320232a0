"""The loop of a training run: batches, an average of the weights, logs, and exact resumption."""

import copy
import json
import logging
import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ...system.failures import ForeseenError, is_out_of_memory
from ...system.formats import write_state
from ...system.writer import make_folder
from ..config import DescentConfig, LogConfig
from .going_on import earlier_length
from .interrupts import deferred_interrupts
from .logs import CsvLog
from .run_folder import STATE_FILE

log = logging.getLogger(__name__)

_WITHOUT_INFLUENCE = ("name", "report", "card", "half")  # on the trained weights


class RunConfig(Protocol):
    """Fields that every run's configuration has; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """Name of the run's folder."""

    @property
    def optimizer(self) -> DescentConfig:
        """Optimizer and schedule."""

    @property
    def report(self) -> LogConfig:
        """Logs and samples."""


Network = TypeVar("Network", bound=nn.Module)
Reported = TypeVar("Reported", bound=nn.Module, contravariant=True)
Config = TypeVar("Config", bound=RunConfig)


class TrainingReport(Protocol[Reported]):
    """What is shown of a run: how it does on pictures that it does not train on, for example."""

    @property
    def log(self) -> CsvLog | None:
        """The file that it writes; None if it writes none."""

    def write(self, network: Reported, step: int) -> object:
        """Measure and sample the averaged network after `step` steps."""


def learning_rate_factor(step: int, config: DescentConfig) -> float:
    """Learning rate as a fraction of its peak: linear warm-up, a plateau, linear decay to zero."""
    warmup = (step + 1) / max(config.warmup, 1)
    decay_start = config.decay_from * config.steps
    decay = (config.steps - step) / max(config.steps - decay_start, 1)
    return max(min(1.0, warmup, decay), 0.0)


def decisive_values(config: RunConfig) -> dict[str, Any]:
    """The values of a configuration that influence the trained weights, as JSON reads them back."""
    values = {name: value for name, value in asdict(config).items() if name not in _WITHOUT_INFLUENCE}
    if values.get("data", {}).get("kind") == "folder":
        values["report"] = {"held_out": config.report.held_out}  # held-out pictures are taken out of the folder
    read_back: dict[str, Any] = json.loads(json.dumps(values))
    return read_back


class TrainingRun(ABC, Generic[Config, Network]):
    """One run of a configuration; a subclass makes the network, its optimizer and a step.

    Args:
        config: The run.
        report: Is given the averaged network every `held_out_every` steps.
        folder: Folder of its state and logs.

    Attributes:
        columns: Names of the losses that a step returns, columns of `loss.csv`.
        grows: Whether a state may go on with more steps or pictures than before; `earlier` then belongs into the card.
        state_path: File of the state, with everything needed to resume after an interruption.
        earlier: What the run had before it went on with more, or from another file; an entry for each time.
        content: A hash of what it learns from that the configuration doesn't determine: pictures and captions' tower.
    """

    grows: ClassVar[bool] = False
    columns: ClassVar[Sequence[str]] = ("loss",)

    def __init__(
        self,
        config: Config,
        report: TrainingReport[Network],
        folder: Path,
    ):
        self.config = config
        self.report = report
        self.folder = folder
        self.state_path = folder / STATE_FILE
        self.log = CsvLog(folder / "loss.csv", "step", *self.columns)
        torch.manual_seed(config.optimizer.seed)
        self.network = self.make_network()
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizer = self.make_optimizer()
        self.step = 0
        self.losses: list[Sequence[float]] = []  # of the steps since the last row of the log
        self.content = ""
        self._resumed = False
        self.earlier: list[str] = []

    @abstractmethod
    def make_network(self) -> Network:
        """The network with random weights."""

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of its weights."""

    @abstractmethod
    def train_step(self) -> Sequence[float]:
        """One optimizer step; returns the losses."""

    def save(self) -> None:
        """Write the run's state.

        Raises:
            WriteError: It could not be written; the previous one is unchanged.
        """
        make_folder(self.folder)
        write_state(self.state_path, self.state())

    def state(self) -> dict[str, Any]:
        """What `restore` takes; tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "losses": [list(losses) for losses in self.losses],
            "earlier": self.earlier,
            "content": self.content,
            "config": json.dumps(decisive_values(self.config)),
        }

    def resume(self) -> None:
        """Continue from the saved state.

        Raises:
            ValueError: The state is of another configuration or network, or is damaged.
        """
        state = self._read_state()
        self.earlier = state["earlier"]
        self._check_same(json.loads(state["config"]), state["step"])
        if state["content"] != self.content:
            raise ValueError(
                f"{self.state_path} is the state of a run on other pictures, or captions of another encoder; put these "
                "back, or add --overwrite instead of --resume to begin anew (--resume FILE goes on from an expert's "
                "weights)."
            )
        try:
            self.restore(state)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.state_path} is the state of a network other than the configuration describes; restore the "
                "configuration, or add --overwrite instead of --resume to begin anew."
            ) from error
        self._resumed = True
        log.info("Resuming %s at step %d", self.config.name, self.step)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Be where a run of the same configuration was when it had this state.

        Raises:
            RuntimeError: The state is of another network.
            ValueError: Likewise.
        """
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.losses = state["losses"]

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self.state_path, map_location="cpu", weights_only=True)
            needed = {"network", "average", "optimizer", "step", "losses", "config", "earlier", "content"}
            missing = needed - state.keys()
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

    def _check_same(self, saved: dict[str, Any], step: int) -> None:
        """Refuse a changed configuration, unless to more of the same: `earlier` says how to get the weights again."""
        own = decisive_values(self.config)
        differing = [name for name in {**own, **saved} if own.get(name) != saved.get(name)]
        if not differing:
            return
        if self.grows and (earlier := earlier_length(saved, own, step)):
            self.earlier.append(earlier)
            return
        sections = [f"[{name}]" if isinstance(own.get(name), dict) else name for name in differing]
        raise ValueError(
            f"{self.state_path} is the state of a run of another configuration, which differs in "
            f"{', '.join(sections)}; restore the configuration, or add --overwrite instead of --resume "
            "to begin anew (--resume FILE goes on from an expert's weights)."
        )

    @torch.no_grad()
    def finish_step(self) -> None:
        """Count the step, and update the average of the weights."""
        self.step += 1
        decay = min(self.config.optimizer.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def descend(self, loss: Tensor, max_norm: float | None = 1.0) -> None:
        """Make an optimizer step, and finish the step.

        Args:
            loss: Loss to descend. The learning rate is multiplied by "scale" of a group of parameters that has one.
            max_norm: Norm that gradients are clipped to; None leaves them as they are.
        """
        options = self.config.optimizer
        for group in self.optimizer.param_groups:
            scale = group.get("scale", 1.0)
            group["lr"] = scale * options.learning_rate * learning_rate_factor(self.step, options)
        self.optimizer.zero_grad()
        loss.backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), max_norm)
        self.optimizer.step()
        self.finish_step()

    def run(self, save_every: int = 250) -> None:
        """Train to the configured number of steps, saving on the way and on interruption.

        Rows of the logs and pictures later than the current step are dropped first, and the state of a run that this
        one replaces, which `--resume` would bring back if this one ended before it saved its own.

        Raises:
            KeyboardInterrupt: The run was interrupted; its state is saved.
            ForeseenError: A loss is no longer finite.
            WriteError: The disk is full; the last state saved is unchanged.
        """
        steps = self.config.optimizer.steps
        for rows in (self.log, self.report.log):
            if rows is not None:
                rows.rewind(self.step)
        for picture in self.folder.glob("samples_*.png"):
            number = picture.stem.removeprefix("samples_")
            if number.isdecimal() and int(number) > self.step:
                picture.unlink()
        if not self._resumed:
            self.state_path.unlink(missing_ok=True)
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
                    self.write_report()
                if interrupted():
                    self.save()
                    raise KeyboardInterrupt(f"Interrupted at step {self.step}; run again with --resume to go on.")
                if self.step % save_every == 0:
                    self.save()
        self.save()

    def write_report(self) -> None:
        """Report the averaged network."""
        self.report.write(self.average, self.step)

    def _finite(self, losses: Sequence[float]) -> Sequence[float]:
        """The losses of a step; raises before anything is saved if one diverged."""
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

"""What the student learns from: the product's answers, on the CPU, so that a card holds one of the two at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from .config import DistilConfig
from .task import Task
from .trajectories import Points, draw_levels, joined, walk


class Buffer:
    """Points of trajectories in a mixed order, made anew once all are used.

    Each filling seeds its own generator. Since the student walks some of the trajectories, the points are part of a
    run's state.

    Args:
        task: What is distilled.
        config: The run.
    """

    def __init__(self, task: Task, config: DistilConfig):
        self._task = task
        self._config = config
        self._fillings = 0
        self._points: Points | None = None
        self._order = torch.empty(0, dtype=torch.int64)

    def batch(self, step: int, network: nn.Module) -> Points:
        """The points of a step, the same ones until `finish_batch`: a step that fails counts for nothing.

        Args:
            step: Steps that were made before.
            network: What learns, which walks its share of new trajectories.
        """
        if not len(self._order):
            self._fill(step, network)
        assert self._points is not None
        return self._points.take(self._order[: self._config.optimizer.batch_size])

    def finish_batch(self) -> None:
        """Go on to the next batch, since the step was made."""
        self._order = self._order[self._config.optimizer.batch_size :]

    def state(self) -> dict[str, Any]:
        """What `restore` takes; tensors and plain values."""
        return {"fillings": self._fillings, "order": self._order.clone(), "points": [*(self._points or ())]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as the buffer that had this state."""
        self._fillings, self._order = state["fillings"], state["order"]
        self._points = Points(*state["points"]) if state["points"] else None

    def _fill(self, step: int, network: nn.Module) -> None:
        self._points = None  # before new ones are made
        options = self._config.trajectories
        generator = seeded(self._config.optimizer.seed, self._fillings)
        own = options.own if step >= options.own_from * self._config.optimizer.steps else 0.0
        self._points = joined([self._walk(network, own, generator) for _ in range(options.batches)])
        count = len(self._points.sigma)
        self._order = torch.cat([torch.randperm(count, generator=generator) for _ in range(options.uses)])
        self._fillings += 1

    def _walk(self, network: nn.Module, own: float, generator: torch.Generator) -> Points:
        """Points of a batch of trajectories, with prompts, levels and noise of their own."""
        task, options = self._task, self._config.trajectories
        size, trained = self._config.optimizer.batch_size, torch.tensor(task.trained)
        prompts = trained[torch.randint(len(trained), (size,), generator=generator)].to(task.device)
        count = int(torch.randint(options.fewest_steps, options.most_steps + 1, (), generator=generator))
        sigmas = draw_levels(count, task.level, generator)
        is_own, share = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        student = task.walker(network, prompts) if is_own < own else None
        noise = task.noise(size, generator)
        eta = share * options.eta
        return walk(task.teacher, noise, sigmas, prompts, student=student, eta=eta, generator=generator)


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose seed is made of several numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))

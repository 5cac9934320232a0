"""How far the student is from the product where it does not learn, and pictures of both."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ..pictures import labelled_grid, to_picture
from ..pictures.files import write_picture
from ..training.loop.logs import CsvLog
from .buffer import seeded
from .comparison import Comparison
from .config import DistilConfig
from .task import Task
from .trajectories import Points, draw_levels, walk

log = logging.getLogger(__name__)

_STREAM = 1 << 32  # larger than any number of fillings, so that no held-out trajectory is trained on


class DistilReport:
    """Loss on trajectories of the product that are held out, of prompts that are trained on and of unseen ones.

    The trajectories are the same each time.

    Args:
        task: What is distilled.
        config: The run.
        folder: Its folder, which gets `held_out.csv` and, if pictures are asked for, `samples_STEP.png`.
    """

    def __init__(self, task: Task, config: DistilConfig, folder: Path):
        self.task = task
        self.config = config
        self.folder = folder
        self.log = CsvLog(folder / "held_out.csv", "step", "prompts", "loss")

    @torch.no_grad()
    def write(self, network: nn.Module, step: int) -> dict[str, float]:
        """Measure the student, and draw its pictures beside the product's.

        Returns:
            "trained" and, if there are any, "unseen" → the loss of their prompts.
        """
        losses = {name: self._loss(network, points) for name, points in self._points.items()}
        for name, loss in losses.items():
            self.log.add(step, name, f"{loss:.6g}")
            log.info("%s step %d: held-out loss of %s prompts %.4g", self.config.name, step, name, loss)
        if self.config.report.samples and self.task.decode is not None:
            self._draw(network, step)
        return losses

    @cached_property
    def _prompts(self) -> dict[str, Sequence[int]]:
        named = {"trained": self.task.trained, "unseen": self.task.unseen}
        return {name: prompts for name, prompts in named.items() if len(prompts)}

    @cached_property
    def _points(self) -> dict[str, Points]:
        """Held-out points by the name of their prompts."""
        count, steps = self.config.report.held_out, self.config.trajectories.most_steps
        found = {}
        for stream, (name, prompts) in enumerate(self._prompts.items()):
            chosen, sigmas, noise = self._begun(stream, prompts, count, steps)
            found[name] = walk(self.task.teacher, noise, sigmas, chosen)
        return found

    def _loss(self, network: nn.Module, points: Points) -> float:
        size, total = self.config.optimizer.batch_size, 0.0
        for rows in torch.arange(len(points.sigma)).split(size):
            total += loss_of(self.task, network, points.take(rows)).item() * len(rows)
        return total / len(points.sigma)

    def _draw(self, network: nn.Module, step: int) -> None:
        rows = []
        for comparison, products in zip(self._comparisons, self._drawn, strict=True):
            students = self._decoded(comparison.of_student(network))
            rows += [[to_picture(ours), to_picture(theirs)] for ours, theirs in zip(products, students, strict=True)]
        write_picture(self.folder / f"samples_{step:06d}.png", labelled_grid(("product", "student"), rows))

    @cached_property
    def _drawn(self) -> list[Tensor]:
        """The product's pictures."""
        return [self._decoded(comparison.of_product) for comparison in self._comparisons]

    @cached_property
    def _comparisons(self) -> list[Comparison]:
        """What pictures are drawn of, for each name of prompts."""
        count, steps = self.config.report.samples, self.config.report.sample_steps
        streams = enumerate(self._prompts.values(), len(self._prompts))
        return [Comparison(self.task, *self._begun(stream, each, count, steps)) for stream, each in streams]

    def _begun(self, stream: int, prompts: Sequence[int], count: int, steps: int) -> tuple[Tensor, list[float], Tensor]:
        """As many of the prompts, evenly spread over them, with noise levels and start noise."""
        generator = seeded(self.config.optimizer.seed, _STREAM + stream)
        places = [(2 * i + 1) * len(prompts) // (2 * count) for i in range(count)]
        chosen = torch.tensor([prompts[place] for place in places], device=self.task.device)
        sigmas = draw_levels(steps, self.task.level, generator)
        return chosen, sigmas, self.task.noise(count, generator)

    def _decoded(self, samples: Tensor) -> Tensor:
        assert self.task.decode is not None
        return self.task.decode(samples)


def loss_of(task: Task, network: nn.Module, points: Points) -> Tensor:
    """Loss of a student at points."""
    x, sigma, x0, prompts = (values.to(task.device) for values in points)
    return task.loss(task.student(network, x, sigma, prompts), x0, sigma)

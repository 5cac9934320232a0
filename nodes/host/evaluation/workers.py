"""The protocol by which a run asks experts on workers; `nodes/workers` implements it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..chain.expert_chain import Experts
from .noise_levels import Forms
from .types import ModelPoint, Request


@dataclass(frozen=True)
class Start:
    """The start of a run.

    Attributes:
        noise: Start noise, shape (B, C, …).
        latent_image: The latent as it came in, before any model's scaling.
        denoise_mask: Noise mask in the shape of the noise; None is everywhere.
        sigmas: Noise levels in the reference's form, shape (S + 1,).
        seed: Of the run.
    """

    noise: Tensor
    latent_image: Tensor
    denoise_mask: Tensor | None
    sigmas: Tensor
    seed: int | None


class Workers(Protocol):
    """The workers of a run's experts."""

    def begin(self, start: Start, shapes: Sequence[Sequence[int]], forms: Forms) -> None:
        """Announce the run to them, before they are asked.

        Args:
            start: Its start.
            shapes: Of the parts of the latent.
            forms: The forms of MODELs in this run.

        Raises:
            ValueError: If one refuses.
        """

    def answers(
        self,
        requests: list[Request],
        point_of: Callable[[ModelPatcher], ModelPoint],
        here: Callable[[list[Request]], dict[Request, Tensor]],
    ) -> dict[Request, Tensor]:
        """Predictions of x0.

        Args:
            requests: The predictions to make, by workers and here.
            point_of: Gives x and σ in a MODEL's own form.
            here: Answers requests to networks that are here.
        """

    def close(self) -> None:
        """Let them forget the run."""


@runtime_checkable
class ExpertOnWorker(Protocol):
    """An expert whose network is on a worker."""

    def workers_of_chain(self, experts: Experts) -> Workers:
        """The workers of the whole chain, for one run; any of its experts on a worker makes them.

        Args:
            experts: The chain.

        Raises:
            ValueError: If a worker cannot be found.
        """


def workers_of(experts: Experts) -> Workers | None:
    """The workers of a chain; None if all of its experts are here.

    Raises:
        ValueError: If a worker cannot be found.
    """
    return next((expert.workers_of_chain(experts) for expert in experts if isinstance(expert, ExpertOnWorker)), None)

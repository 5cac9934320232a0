"""Noise on the prompts of a student while it learns, so that it obeys prompts between those that it is shown."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..training.data.sources import perturb
from .product import ExpertStudent
from .roles import Student

_READ = ("embedding", "context")  # what a text encoder gives; a class or a map has no neighbours that mean nearly it
_STREAM = 1 << 33  # apart from the buffer's fillings and the report's trajectories, which count from 0 and 2³²


def noised(student: ExpertStudent, noise: float, seed: int) -> Callable[[int], Student]:
    """The student of each learning step, which is given its prompts with noise.

    The product answers without it: a text embedding near a prompt's own then means the same, as near embeddings of
    pictures do in the training of text experts (`perturb`).

    Args:
        student: The student.
        noise: Largest noise, in standard deviations of each value over the prompts.
        seed: Seed of the run; the noise of a step depends on it and the step alone.

    Returns:
        Number of a step → its student.

    Raises:
        ValueError: The student is given no text.
    """
    conditions = student.conditions
    texts = {name: value for name, value in conditions.tensors().items() if name in _READ}
    if not texts:
        raise ValueError(
            f"Expected a student with text prompts for prompt_noise {noise:g}, and {student.expert.name} is given "
            f"{', '.join(conditions.tensors()) or 'nothing'}; leave prompt_noise out."
        )
    spreads = {name: value.std(dim=0, correction=0) for name, value in texts.items()}

    def at(step: int) -> Student:
        rng = np.random.default_rng((seed, _STREAM + step))

        def learning(network: nn.Module, x: Tensor, sigma: Tensor, prompts: Tensor) -> Tensor:
            taken = conditions.take(prompts)
            given = taken.tensors()
            changed: dict[str, Any] = {
                name: perturb(given[name], spread, noise, rng) for name, spread in spreads.items()
            }
            return student.predict(network, x, sigma, replace(taken, **changed))

        return learning

    return at

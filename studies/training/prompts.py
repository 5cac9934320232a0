"""Drawn prompts of a distillation: captions of faces whose colours are asked for one by one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from mcdm_core.distil.recipe import STUDENT, UNSEEN
from mcdm_core.system.fields import Between
from mcdm_core.training.config import build

from ..data.captions import caption
from ..data.combinations import combinations


@dataclass(frozen=True)
class PromptsConfig:
    """A table `[prompts]`.

    Attributes:
        leading: Attribute → the value that is never asked for. Each names an expert, which is told of it alone; the
            student is told of all.
        count: Number of prompts, which cycle through the combinations of the other values, in new wordings.
        seed: Seed of the wordings.
        unseen: Combinations that are never trained on, by the values of their attributes in the order of `leading`.
        asked: Combinations that prompts cycle through instead, likewise; with leading values or without.
    """

    leading: dict[str, str]
    count: Annotated[int, Between(1)] = 300
    seed: Annotated[int, Between(0)] = 0
    unseen: tuple[tuple[str, ...], ...] = field(default=())
    asked: tuple[tuple[str, ...], ...] = field(default=())


def draw_prompts(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Draw the prompts of a table, see `PromptsConfig`.

    Raises:
        ValueError: A name in it is unknown, or a value cannot be used.
    """
    config: PromptsConfig = build(PromptsConfig, dict(values), "[prompts]")
    given = combinations(config.leading, config.asked)
    unseen = [[*each] for each in config.unseen]
    if unknown := [each for each in unseen if each not in [[*values.values()] for values in given]]:
        raise ValueError(
            f"Expected combinations of {', '.join(config.leading)} as unseen of [prompts] and got {unknown[0]}; "
            "correct it."
        )
    return [
        _prompt(values, [*values.values()] in unseen, config.seed + index)
        for index, values in ((index, given[index % len(given)]) for index in range(config.count))
    ]


def _prompt(attributes: dict[str, str], unseen: bool, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    own = {name: {"text": caption(attributes, rng, (name,))} for name in attributes}
    return {**own, STUDENT: {"text": caption(attributes, rng, tuple(attributes))}, UNSEEN: unseen}

"""Requests to experts, by names that ComfyUI knows them by, which observers see; and the workers that answer some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.evaluation.evaluation import Evaluation
from ..chain.expert_chain import Conds, Experts
from .model_forms import FormOf

POSITIVE, NEGATIVE = "positive", "negative"
ROLES = {POSITIVE: 0, NEGATIVE: 1}  # in cond_or_uncond, which patches read


@dataclass(frozen=True)
class Request:
    """One prediction to make: an expert's, under its condition (`POSITIVE`) or its null (`NEGATIVE`)."""

    expert: int
    role: str


Observer = Callable[[Evaluation], None]
"""Is shown every evaluation of the product; it must not change the tensors."""
ModelPoint = tuple[Tensor, Tensor]
"""x in a MODEL's own form, shape (B, C, …), and σ of equal entries, shape (B,)."""


def conditionings_on(experts: Experts, patcher: ModelPatcher) -> dict[str, list]:
    """The CONDITIONINGs of all experts on one MODEL; `conds_of` finds one expert's again."""
    conditionings: dict[str, list] = {}
    for index, expert in enumerate(experts):
        if expert.model is patcher:
            given = {POSITIVE: expert.condition, NEGATIVE: expert.null}
            conditionings |= {_name(role, index): value for role, value in given.items() if value is not None}
    return conditionings


def conds_of(conds: Conds, index: int) -> Conds:
    """One expert's conditionings among those on its MODEL, by role."""
    return {role: conds[_name(role, index)] for role in (POSITIVE, NEGATIVE) if _name(role, index) in conds}


def _name(role: str, index: int) -> str:
    """CFGGuider's own names for the reference, numbered ones for the rest."""
    return role if index == 0 else f"{role} {index + 1}"


class Workers(Protocol):
    """The workers of a run's experts, from its announcement until they forget it."""

    def begin(self, inputs: Any, form_of: FormOf) -> None:
        """Announce the run to them, before they are asked.

        Args:
            inputs: What ComfyUI gives the run, see `RunInputs`.
            form_of: Gives the forms of MODELs in this run.

        Raises:
            ValueError: If one refuses.
        """

    def predict(
        self,
        requests: list[Request],
        point_of: Callable[[ModelPatcher], ModelPoint],
        here: Callable[[list[Request]], dict[Request, Tensor]],
    ) -> dict[Request, Tensor]:
        """Predictions of x0.

        Args:
            requests: The predictions to make, by workers and here.
            point_of: Gives x and σ in a MODEL's own form.
            here: Predicts by the networks that are here.
        """

    def close(self) -> None:
        """Let them forget the run."""

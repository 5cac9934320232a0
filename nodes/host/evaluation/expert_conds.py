"""Names for the conditionings of several experts on one MODEL, which ComfyUI processes together."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher

from ..chain.expert_chain import Conds, Experts
from .types import CONDITION, NULL


def conditionings_on(experts: Experts, patcher: ModelPatcher) -> dict[str, list]:
    """The CONDITIONINGs of all experts on one MODEL; `conds_of` finds one expert's again."""
    found: dict[str, list] = {}
    for index, expert in enumerate(experts):
        if expert.model is patcher:
            given = {CONDITION: expert.condition, NULL: expert.null}
            found |= {_name(role, index): value for role, value in given.items() if value is not None}
    return found


def conds_of(conds: Conds, index: int) -> Conds:
    """One expert's conditionings among those on its MODEL, by role."""
    return {role: conds[_name(role, index)] for role in (CONDITION, NULL) if _name(role, index) in conds}


def _name(role: str, index: int) -> str:
    """CFGGuider's own names for the reference, numbered ones for the rest."""
    return role if index == 0 else f"{role} {index + 1}"

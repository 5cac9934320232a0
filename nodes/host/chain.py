"""The list of experts that travels along MCDM_EXPERTS sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

Conditioning = list

PRODUCT_KEY = "mcdm_product"  # of the wrapper by which Product as Model makes a MODEL a product


class ExpertInput(NamedTuple):
    """One expert of a product, as the user wired it; a product is a tuple of these, the reference expert first.

    Attributes:
        model: Any MODEL.
        condition: CONDITIONING of ε_i(z_t, x_i, t), None for an expert that only lends its null.
        null: CONDITIONING of ε_i(z_t, ∅, t), None where it is not needed.
        weight: w_i, what cfg means for one expert; negative pushes away.
        reliability: a_i ≥ 0 before normalization.
        start: Share of the sampling after which the expert takes part, 0…1.
        end: Share of the sampling after which it no longer does, 0…1.
        mask: Where the expert acts, shape (B or 1, H, W), of videos (frames, H, W), values 0…1, any resolution; None is
            everywhere.
    """

    model: ModelPatcher
    condition: Conditioning | None = None
    null: Conditioning | None = None
    weight: float = 1.0
    reliability: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mask: Tensor | None = None


Experts = tuple[ExpertInput, ...]


def describe(experts: Experts, index: int) -> str:
    """How messages name an expert: its place in the chain and, for experts of this pack, its name."""
    name = getattr(experts[index].model.model, "expert_name", None)
    return f"expert {index + 1} ({name})" if name else f"expert {index + 1}"

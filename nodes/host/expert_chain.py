"""The list of experts that travels along MCDM_EXPERTS sockets."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ...mcdm_core.product.share import Share

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

Conditioning = list

PRODUCT_KEY = "mcdm_product"  # of the wrapper by which Product as Model makes a MODEL a product


@dataclass(frozen=True, eq=False)
class ExpertInput(Share):
    """One expert of a product, as the user wired it; a product is a tuple of these, the reference expert first.

    Attributes:
        model: Any MODEL.
        condition: CONDITIONING of ε_i(z_t, x_i, t), None for an expert that only lends its null.
        null: CONDITIONING of ε_i(z_t, ∅, t), None where it is not needed.
        mask: Where the expert acts, shape (B or 1, H, W), of videos (frames, H, W), values 0…1, any resolution; None is
            everywhere.
        place: In the chain, from 1.

    Raises:
        ValueError: See `Share`; or a condition is missing.
    """

    model: ModelPatcher
    condition: Conditioning | None = None
    null: Conditioning | None = None
    _: KW_ONLY
    mask: Tensor | None = None
    place: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_condition(self.condition is not None)

    @property
    def label(self) -> str:
        """How messages name the expert: its place in the chain and, for experts of this pack, its name."""
        name = getattr(self.model.model, "expert_name", None)
        return f"expert {self.place} ({name})" if name else f"expert {self.place}"


Experts = tuple[ExpertInput, ...]

"""The list of experts that travels along MCDM_EXPERTS sockets."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ....mcdm_core.product.methods.method import Setting
from ....mcdm_core.product.terms.term_numbers import TermNumbers

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

Conditioning = list
Conds = dict[str, list[dict]]
"""Conditioning in the form of samplers: entries by "positive" and "negative", either of which may be missing."""

LABELS = {"condition": "positive", "null": "negative"}
"""What the page calls an expert's inputs of these ids."""
CONNECT_CONDITION = f"Connect {LABELS['condition']}"  # what to do where an expert has none
PRODUCT_KEY = "mcdm_product"  # key of the wrapper with which Product as Model makes a MODEL a product


@dataclass(frozen=True, eq=False)
class WiredTerm(TermNumbers):
    """One expert of a product as the user wired it: the core's `Term` in ComfyUI, a `QueuedTerm` before the run.

    Attributes:
        model: Any MODEL.
        condition: CONDITIONING of ε_i(z_t, x_i, t), None for an expert that only lends its null.
        null: CONDITIONING of ε_i(z_t, ∅, t), None where it is not needed.
        mask: Where the expert acts, shape (B or 1, H, W), of videos (frames, H, W), values 0…1, any resolution; None is
            everywhere.
        vae: ComfyUI's VAE of its latents; needed if the experts' samples are of several spaces.
        place: The expert's place in the chain, from 1.
        node: Id of the node that has its inputs; None for an expert that no node made.
        settings: Settings for the whole product, from nodes after this expert; see `settings_of`.
        workers: Makes the workers of a whole chain, see `Workers`; None where the expert is on none.

    Raises:
        ValueError: See `TermNumbers`; or a condition is missing.
    """

    model: ModelPatcher
    condition: Conditioning | None = None
    null: Conditioning | None = None
    _: KW_ONLY
    mask: Tensor | None = None
    vae: Any = None
    place: int = 1
    node: str | None = None
    settings: tuple[Setting, ...] = ()
    workers: ClassVar[Any] = None

    __eq__ = object.__eq__  # equal numbers make no equal experts
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_condition(self.condition is not None, CONNECT_CONDITION)

    @property
    def conditionings(self) -> dict[str, Conditioning]:
        """The CONDITIONINGs that it has, by the inputs that they are connected to, "condition" and "null"."""
        given = {"condition": self.condition, "null": self.null}
        return {role: conditioning for role, conditioning in given.items() if conditioning is not None}

    @property
    def label(self) -> str:
        """Name of the expert in messages: its place in the chain and, for experts of this pack, its name."""
        numbered = f"expert {self.place}"
        return numbered if self.name == numbered else f"{numbered} ({self.name})"

    @property
    def name(self) -> str:
        """The expert's name, if it is one of this pack; else its place in the chain."""
        own: str | None = getattr(self.model.model, "expert_name", None)
        return own or f"expert {self.place}"


Experts = tuple[WiredTerm, ...]
"""Those of a product, the reference expert first."""


def with_setting(experts: Experts, setting: Setting) -> Experts:
    """The chain with a setting for its product; more experts can still be added to it."""
    *before, last = experts
    others = (other for other in last.settings if type(other) is not type(setting))
    return *before, replace(last, settings=(*others, setting))


def settings_of(experts: Experts) -> list[Setting]:
    """The settings for the product of a chain, in their order along it; of each kind the last."""
    given = [setting for expert in experts for setting in expert.settings]
    return [setting for count, setting in enumerate(given, 1) if type(setting) not in map(type, given[count:])]

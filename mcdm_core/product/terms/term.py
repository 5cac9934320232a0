"""One factor of the product: an expert with its condition and its numbers."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor

from ...expert.condition import Condition
from ...expert.expert import Expert
from .term_numbers import TermNumbers


@dataclass(frozen=True, eq=False)
class Term(TermNumbers):
    """An expert with its condition and its numbers, see `TermNumbers`; in ComfyUI a `WiredTerm` or `QueuedTerm`.

    Example:
        >>> Term(hair, condition, condition.null(), weight=2.0)

    Attributes:
        expert: The expert.
        condition: x_i; None only if `weight` is 0 (an unconditional expert that lends its null).
        null: ∅; None is fine where `reliability` is 0 or the weights sum to 1.
        mask: Where the expert acts, shape (H, W), (B, H, W) or (B, 1, H, W), values 0…1; None is everywhere.

    Raises:
        ValueError: If the expert is no `Expert`; if the condition or the null is no `Condition` (a text, say), or the
            expert would ignore it; if a number, the mask or the window cannot be used.
    """

    expert: Expert
    condition: Condition | None
    null: Condition | None = None
    _: KW_ONLY
    mask: Tensor | None = None

    __eq__ = object.__eq__  # equal numbers make no equal experts
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        if not isinstance(self.expert, Expert):
            raise ValueError(
                f'Expected an Expert and got {type(self.expert).__name__}; load one, as `load_expert("hair")`, or wrap '
                "a network in `Expert`."
            )
        super().__post_init__()
        self.check_condition(self.condition is not None)
        for role, given in (("condition", self.condition), ("null", self.null)):
            if given is not None:
                if not isinstance(given, Condition):
                    raise ValueError(
                        f"Expected a Condition as the {role} of {self.label} and got {type(given).__name__}; encode it "
                        "with the expert's encoder."
                    )
                self.expert.check_read(given, role)
        if self.mask is not None:
            self._check_mask(self.mask)

    def _check_mask(self, mask: Any) -> None:
        if not isinstance(mask, Tensor):
            raise ValueError(
                f"Expected a tensor as the mask of {self.label} and got {type(mask).__name__}; convert it by "
                "`torch.as_tensor`."
            )
        if not ((mask >= 0) & (mask <= 1)).all():
            raise ValueError(f"Expected mask values in 0…1 for {self.label} and got others, or NaN; rescale the mask.")

    @property
    def label(self) -> str:
        """The expert's name."""
        return self.expert.name

    def mask_like(self, x: Tensor) -> Tensor | None:
        """The mask in the shape that broadcasts to samples x (B, C, H, W).

        Raises:
            ValueError: If height, width or batch differ.
        """
        mask = self.mask_of_any_size(x)
        if mask is not None and mask.shape[2:] != x.shape[2:]:
            raise ValueError(
                f"Expected a mask of {x.shape[2]}×{x.shape[3]} for {self.label} and got shape "
                f"{tuple(mask.shape)}; resize it to the sample."
            )
        return mask

    def mask_of_any_size(self, x: Tensor) -> Tensor | None:
        """The mask as (1, 1, H, W), or (B, 1, H, W) for samples x of B rows, on their device.

        It has at least single precision: in halves masks that sum to 1 would no longer.

        Raises:
            ValueError: If it has another shape.
        """
        if self.mask is None:
            return None
        mask = self.mask[None] if self.mask.ndim == 2 else self.mask
        mask = mask[:, None] if mask.ndim == 3 else mask
        if mask.ndim != 4 or mask.shape[1] != 1 or len(mask) not in (1, len(x)):
            raise ValueError(
                f"Expected a mask of shape (H, W), (B, H, W) or (B, 1, H, W) for {self.label}, one or as many as "
                f"samples ({len(x)}), and got shape {tuple(self.mask.shape)}; reshape it."
            )
        return mask.to(x.device, torch.promote_types(x.dtype, torch.float32))

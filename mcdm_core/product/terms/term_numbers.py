"""An expert's numbers in a product: weight, reliability, and when it acts."""

import math
from dataclasses import dataclass, fields
from typing import Any

from .curve import Curve, check_curve
from .span import Span


class TermError(ValueError):
    """Experts that can't be combined, where an input of one of them mends that.

    Args:
        sentence: For the user.
        index: The expert's, among those of the product.
        name: The input of it that mends that, such as "weight", "null", "vae" or "model".
    """

    # With defaults, since an exception that comes from another process is made anew by its sentence alone.
    def __init__(self, sentence: str, index: int = 0, name: str = ""):
        super().__init__(sentence)
        self.index = index
        self.input = name


@dataclass(frozen=True, kw_only=True)
class TermNumbers(Span):
    """An expert's numbers in a product: how strongly it pulls, how far it is trusted, and when it acts.

    Every class of experts in a product derives from this one, so that unusable numbers are refused in one place. An
    expert acts within the span of `start`, `end`, `sigma_start` and `sigma_end`, see `Span`.

    Attributes:
        weight: w_i of Eq. 10, any sign; for a single expert the guidance scale that ComfyUI calls cfg.
        reliability: a_i ≥ 0 before normalization.
        weight_curve: Factor of w_i as the sampling goes on, see `Curve`; empty is 1 throughout.

    Raises:
        ValueError: If a number cannot be used; one sentence that names the expert by its `label`.
    """

    weight: float = 1.0
    reliability: float = 1.0
    weight_curve: Curve = ()

    def __post_init__(self) -> None:
        self._check_numbers("weight", "reliability")
        if not math.isfinite(self.weight):
            raise ValueError(f"Expected a finite weight for {self.label} and got {self.weight}; set one, such as 2.")
        if not 0 <= self.reliability < math.inf:
            raise ValueError(
                f"Expected a reliability of 0 or more for {self.label} and got {self.reliability}; set one, such as 1."
            )
        super().__post_init__()
        check_curve(self.weight_curve, self.label)

    @property
    def label(self) -> str:
        """The expert's name in messages."""
        return "this expert"

    @property
    def subject(self) -> str:
        """The expert's name at the beginning of a sentence."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def what(self) -> str:
        """What messages advise to remove if its window is empty."""
        return "the expert"

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers by name, to make another record of them."""
        return {name: getattr(self, name) for name in NUMBERS}

    def check_condition(self, given: bool, give: str = "Give it a condition") -> None:
        """Refuse an expert that should guide and has no condition.

        Args:
            given: Whether it has one.
            give: What the refusal tells the user to do.

        Raises:
            ValueError: If it has none, and its weight is not 0.
        """
        if not given and self.weight != 0:
            raise ValueError(
                f"{self.subject} needs a prompt, because its weight is {self.weight:g}. {give}, or set its weight to "
                "0, so that it only lends its negative."
            )


NUMBERS = tuple(field.name for field in fields(TermNumbers))
"""Their names."""

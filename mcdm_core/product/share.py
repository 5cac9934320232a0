"""What an expert brings to a product, and how much of it."""

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Share:
    """An expert's share in a product: how strongly it pulls, how far it is trusted, and when.

    Every record of an expert in a product is one of these, so that numbers which no product can be made of are refused
    in one place, whoever gives them.

    Attributes:
        weight: w_i of Eq. 10, any sign; for a single expert the guidance scale that ComfyUI calls cfg.
        reliability: a_i ≥ 0 before normalization.
        start: Share of the sampling, from the noisy end, after which the expert acts, 0…1.
        end: Share of the sampling after which it no longer does, 0…1.

    Raises:
        ValueError: If a number cannot be used; one sentence that names the expert by its `label`.
    """

    weight: float = 1.0
    reliability: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(f"Expected a finite weight for {self.label} and got {self.weight}; set one, such as 2.")
        if not 0 <= self.reliability < math.inf:
            raise ValueError(
                f"Expected a reliability of 0 or more for {self.label} and got {self.reliability}; set one, such as 1."
            )
        if not (0 <= self.start <= 1 and 0 <= self.end <= 1):
            raise ValueError(
                f"Expected start and end between 0 and 1 for {self.label} and got {self.start:g} and {self.end:g}; "
                "they are shares of the sampling, not steps."
            )
        if not self.start < self.end:
            raise ValueError(
                f"Expected start below end for {self.label} and got {self.start:g} and {self.end:g}; swap them, move "
                "one of them, or remove the expert."
            )

    @property
    def label(self) -> str:
        """What messages call the expert."""
        return "this expert"

    @property
    def numbers(self) -> dict[str, Any]:
        """The four numbers by name, to make another record of them."""
        return {name: getattr(self, name) for name in NUMBERS}

    def check_condition(self, given: bool) -> None:
        """Refuse an expert that should guide and is told nothing.

        Args:
            given: Whether it has a condition.

        Raises:
            ValueError: If it has none, and a weight.
        """
        if not given and self.weight != 0:
            raise ValueError(
                f"Expected a condition for {self.label}, whose weight is {self.weight:g}, and got none; give one, "
                "or set the weight to 0 so that the expert only lends its null."
            )


NUMBERS = tuple(field.name for field in fields(Share))
"""Names of the four numbers."""

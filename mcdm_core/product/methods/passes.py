"""What a run may leave out of a product: a policy, off unless it is chosen."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..evaluation.evaluation import Evaluation
from ..terms.span import SigmaAt
from .interval import GuidanceInterval
from .method import Method, Setting
from .registry import register
from .reuse import Reuse
from .turns import Turns

logger = logging.getLogger(__name__)

MOST_STEPS = 100


@register
@dataclass(frozen=True, kw_only=True)
class Passes(Setting):
    """How a product saves passes of networks. The defaults save none, and change nothing.

    **Guidance interval**: the span (`start`, `end`, `sigma_start`, `sigma_end`, see `Span`) within which the product is
    guided. Outside it positive weights are divided by their sum and others are 0, so that W = 1 and no null is asked.

    **Adaptive null**: once a null's x0 resembles that of its own expert's conditions, their last difference stands in
    for its pass, until the null is asked again `refresh` steps later.

    **Switch**: the experts of positive weight take turns in the order of the chain, each for some steps; the others act
    all the time.

    Attributes:
        threshold: Cosine of the two x0 above which a null is left out, −1…1; at 1 none is.
        refresh: After how many steps everything is asked again, 1 or more; at 1 nothing is left out.
        switch: How many steps the turn of an expert lasts, see `turns`; at 0 all act together.

    Raises:
        ValueError: If a number cannot be used.

    References:
        Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in
        Diffusion Models", 2024. Castillo et al., "Adaptive Guidance: Training-free Acceleration of Conditional
        Diffusion Models", 2023 (arXiv 2312.12487). Zhong et al., "Multi-LoRA Composition for Image Generation", 2024
        (arXiv 2402.16843).
    """

    name = "Passes"

    threshold: float = 1.0
    refresh: int = 1
    switch: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_numbers("threshold", "refresh", "switch")
        for name, steps in (("refresh", self.refresh), ("switch", self.switch)):
            if not float(steps).is_integer():
                raise ValueError(f"Expected a whole number of steps as {name} and got {steps}; set 1, say.")
        if not -1 <= self.threshold <= 1:
            raise ValueError(
                f"Expected a threshold of a cosine, −1 to 1, and got {self.threshold}; set one, such as 0.99, or 1 for "
                "asking every negative."
            )
        if not 1 <= self.refresh <= MOST_STEPS:
            raise ValueError(f"Expected to refresh every 1 to {MOST_STEPS} steps and got {self.refresh}; set 3, say.")
        if not 0 <= self.switch <= MOST_STEPS:
            raise ValueError(
                f"Expected turns of 0 to {MOST_STEPS} steps for experts that switch and got {self.switch}; set 1, say, "
                "or 0 for experts that act together."
            )

    @property
    def label(self) -> str:
        """What messages call the interval."""
        return "the guidance interval"

    def methods(self, sigma_at: SigmaAt | None = None) -> list[Method]:
        """The methods of what is switched on; with any of them, rows are counted."""
        methods: list[Method] = []
        if not self.is_whole:
            methods.append(GuidanceInterval(self, sigma_at))
        if self.switch > 0:
            methods.append(Turns(self.switch, "set `switch` of Fewer Passes to 0"))
        if self.refresh > 1 and self.threshold < 1:
            methods.append(Reuse(self.threshold, self.refresh))
        return [*methods, SavedRows()] if methods else []


class SavedRows(Method):
    """Counts rows, and logs at the end of a run how many were saved."""

    def __init__(self) -> None:
        self.forget()

    def begin(self, levels: Sequence[float], read_nulls: Collection[int] = ()) -> None:
        """Begin to count."""
        self.forget()

    def forget(self) -> None:
        """Drop the counts."""
        self._asked = self._plain = 0

    def note(self, evaluation: Evaluation) -> None:
        """Count the rows of an evaluation."""
        self._asked += evaluation.rows
        self._plain += evaluation.plain_rows

    def end(self) -> None:
        """Log how many rows were saved."""
        if self._plain:
            saved = self._plain - self._asked
            logger.info(
                "Fewer passes: networks were asked %d rows in place of %d; %d were saved (%.1f %%).",
                *(self._asked, self._plain, saved, 100 * saved / self._plain),
            )

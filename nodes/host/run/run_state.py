"""What a guider keeps of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ....mcdm_core.product.lifts import Lifts
from ....mcdm_core.product.method import Method
from ....mcdm_core.product.planner import Planner
from ....mcdm_core.product.separate import Weigh
from ..chain.expert_chain import Conds
from ..comfyui.devices import Devices
from ..evaluation.noise_levels import Forms
from ..evaluation.product import Product
from ..evaluation.types import Observed, Observer
from ..evaluation.workers import Workers
from ..weights.weights_on_devices import WeightsOnAllDevices
from .prepared import PreparedModel


@dataclass
class Run:
    """State of one run that CFGGuider does not keep, which knows the reference expert alone.

    Attributes:
        weights: Lets networks answer as each of the MODELs that share them.
        devices: Those of the MODELs.
        others: The other MODELs, prepared.
        planner: Made when the run's noise levels are known.
        forms: Of the MODELs; made with the planner.
        weigh: Says what each expert counts, while they are asked alone.
        shapes: Shapes of what the latent holds, one for most; made with the planner.
        processed: Processed conditioning of the experts after the first.
        product: Made when CFGGuider has processed the reference's conditioning.
        methods: Those of the product; made with the planner.
        observers: Are shown every evaluation of the product.
        workers: Have the experts whose networks are elsewhere, if some are.
        lifts: Gathers how far the experts lift the samples, if that is asked for.
        scores: What it found of the samples, if they carry it.
    """

    weights: WeightsOnAllDevices
    devices: Devices
    others: list[PreparedModel] = field(default_factory=list)
    planner: Planner = field(init=False)
    forms: Forms = field(init=False)
    weigh: Weigh | None = None
    shapes: Sequence[Sequence[int]] = ()
    processed: list[Conds] = field(default_factory=list)
    product: Product | None = None
    methods: Sequence[Method] = ()
    observers: list[Observer] = field(default_factory=list)
    workers: Workers | None = None
    lifts: Lifts | None = None
    scores: Tensor | None = None

    def resample(self, ancestors: Tensor) -> None:
        """Take that samples of the batch go on as others, with all that is kept of them.

        Args:
            ancestors: Which sample each is from now on, shape (B,).
        """
        for method in self.taking_part:
            method.resample(ancestors)

    def check_fixed(self) -> None:
        """Refuse to weigh samples by what their factors count.

        Raises:
            ValueError: If a method lets weights depend on the samples.
        """
        for method in self.methods:
            method.check_fixed()

    @property
    def taking_part(self) -> list[Method]:
        """The methods, and whoever else takes part in evaluations of the product."""
        lifts = [] if self.lifts is None else [self.lifts]
        return [*self.methods, *lifts, *map(Observed, self.observers)]

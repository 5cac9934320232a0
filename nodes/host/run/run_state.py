"""What a guider keeps of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ....mcdm_core.product.lifts import Lifts
from ....mcdm_core.product.method import Methods
from ....mcdm_core.product.planner import Planner
from ....mcdm_core.product.separate import Weigh
from ..chain.expert_chain import Conds
from ..comfyui.devices import Devices
from ..evaluation.noise_levels import Forms
from ..evaluation.product import Product
from ..evaluation.types import Observer, Watcher
from ..evaluation.workers import Workers
from ..weights.weights_on_devices import WeightsOnAllDevices
from .prepared import PreparedModel


@dataclass
class Run:
    """What a run needs beside what CFGGuider keeps, which is of the reference expert alone.

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
    methods: Methods = field(default_factory=Methods)
    observers: list[Observer] = field(default_factory=list)
    workers: Workers | None = None
    lifts: Lifts | None = None
    scores: Tensor | None = None

    def resample(self, ancestors: Tensor) -> None:
        """Take that samples of the batch go on as others, with all that is kept of them.

        Args:
            ancestors: Which sample each is from now on, shape (B,).
        """
        self.taking_part.resample(ancestors)

    @property
    def taking_part(self) -> Methods:
        """The methods, and whoever else takes part in evaluations of the product."""
        lifts = [] if self.lifts is None else [self.lifts]
        return Methods([*self.methods, *lifts, *map(Watcher, self.observers)])

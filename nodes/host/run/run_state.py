"""The state of one run of a guider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.methods.lifts import Lifts
from ....mcdm_core.product.methods.method import Methods
from ....mcdm_core.product.plan import Plan
from ....mcdm_core.product.plans.planner import Planner
from ....mcdm_core.product.plans.separate import SeparatePlan, SeparateWeights, plan_separately
from ..chain.expert_chain import Conds
from ..comfyui.devices import Devices
from ..evaluation.noise_levels import Forms
from ..evaluation.product import Product
from ..evaluation.types import Observer, Watcher
from ..evaluation.workers import Workers
from ..weights.weights_on_devices import WeightsOnAllDevices
from .joint_sampler import JointSample
from .prepared import PreparedModel


@dataclass
class Run:
    """What a run keeps beside CFGGuider's own attributes, which are of the reference expert only.

    Attributes:
        weights: Lets networks answer as each of the MODELs that share them.
        devices: Those of the MODELs.
        joint: The samples of several spaces; None if the experts have one.
        others: The other MODELs, prepared.
        planner: Made when the run's noise levels are known.
        forms: The MODELs' forms of x; made with the planner.
        separate: Gives separate predictions their coefficients, within `separately`.
        shapes: Shapes of the parts of the latent, of which most have one; made with the planner.
        processed: Processed conditioning of the experts after the first.
        product: Made when CFGGuider has processed the reference's conditioning.
        methods: The product's; made with the planner.
        observers: Are shown every evaluation of the product.
        workers: Those that have experts of the run; None if all are here.
        lifts: Measures how far the experts lift the samples, if that is wanted.
        scores: The lifts of the finished samples, if these are to carry them.
    """

    weights: WeightsOnAllDevices
    devices: Devices
    joint: JointSample | None = None
    others: list[PreparedModel] = field(default_factory=list)
    planner: Planner[Plan] = field(init=False)
    forms: Forms = field(init=False)
    separate: SeparateWeights | None = None
    shapes: Sequence[Sequence[int]] = ()
    processed: list[Conds] = field(default_factory=list)
    product: Product | None = None
    methods: Methods = field(default_factory=Methods)
    observers: list[Observer] = field(default_factory=list)
    workers: Workers | None = None
    lifts: Lifts | None = None
    scores: Tensor | None = None

    @contextmanager
    def separately(self, sigmas: Tensor) -> Iterator[Planner[SeparatePlan]]:
        """A part of a run in which separate predictions are combined with the coefficients that `separate` gives.

        Args:
            sigmas: Noise levels of the run, shape (S + 1,).

        Yields:
            The planner of that part.

        Raises:
            ValueError: If an expert lacks a null that it needs, none is of positive weight, or experts take turns.
        """
        together = self.planner
        self.methods.check_separate()
        separate = together.making(plan_separately)
        separate.check_run(sigmas)
        try:
            self.planner, self.product = separate, None  # a product keeps the planner that it was made with
            yield separate
        finally:
            self.planner, self.product, self.separate = together, None, None

    def shape_of(self, patcher: ModelPatcher, shape: Sequence[int]) -> Sequence[int]:
        """Shape of samples as a MODEL is given them, where the reference's have this shape."""
        return shape if self.joint is None else self.joint.spaces.shape_of(patcher, shape[0])

    @property
    def taking_part(self) -> Methods:
        """The methods, lifts and observers: all that take part in an evaluation of the product."""
        lifts = [] if self.lifts is None else [self.lifts]
        return Methods([*self.methods, *lifts, *map(Watcher, self.observers)])

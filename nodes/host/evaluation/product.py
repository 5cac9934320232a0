"""The product over several MODELs, and how it meets ComfyUI's CFG hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.evaluate import evaluate
from ....mcdm_core.product.evaluation.evaluation import Evaluation, NoiseLevel, Point
from ....mcdm_core.product.evaluation.forms import align
from ....mcdm_core.product.evaluation.plan import Asked, Plan, Predictions
from ....mcdm_core.product.methods.method import Methods
from ....mcdm_core.product.plans.planner import Planner
from ....mcdm_core.product.plans.separate import SeparateCoefficients, Weigh, plan_separately
from ..chain.attachments import CFG_HOOKS
from ..spaces.refusals import check_guidance
from ..spaces.run_state import RunState
from .cfg_hooks import CfgHooks, Own
from .model_forms import FormOf
from .networks import NetworksOfRun
from .requests import NEGATIVE, POSITIVE, ROLES, ModelPoint, Observer, Workers


@dataclass(eq=False, repr=False)
class ProductOfRun:
    """The product of one run.

    Attributes:
        networks: The networks of the experts.
        form_of: Gives the forms of the MODELs.
        state: The state of the run, in the spaces of its experts.
        planner: The plans at every noise level. It is told which nulls experts share.
        methods: All that take part in evaluations: the product's methods, and scores.
        workers: The workers that have experts of the run; None if all are here.
        observers: Are shown every evaluation.
    """

    networks: NetworksOfRun
    form_of: FormOf
    state: RunState
    planner: Planner[Plan]
    methods: Methods
    workers: Workers | None
    observers: list[Observer] = field(default_factory=list)
    _separate: SeparateCoefficients | None = field(default=None, init=False)  # within `separately`

    def __post_init__(self) -> None:
        self.reference, self.spaces = self.networks.reference, self.state.spaces
        self._hooks = CfgHooks()
        self.planner.change(replace(self.planner.combination, null_owners=self.networks.null_owners()))

    @contextmanager
    def separately(self, sigmas: Tensor) -> Iterator[Callable[[Weigh], SeparateCoefficients]]:
        """A part of a run in which the separate predictions of experts are combined.

        Args:
            sigmas: Noise levels of the run, shape (S + 1,).

        Yields:
            Sets the coefficients of the calls that follow; what it returns has the predictions of the last one.

        Raises:
            ValueError: If an expert lacks a null that it needs, none is of positive weight, or experts take turns.
        """
        together = self.planner
        self.methods.check_separate()
        apart = together.making(plan_separately)
        apart.check_run(sigmas)

        def weigh_by(weigh: Weigh) -> SeparateCoefficients:
            self._separate = SeparateCoefficients(apart.at, weigh)
            return self._separate

        try:
            self.planner = apart
            yield weigh_by
        finally:
            self.planner, self._separate = together, None

    def predict(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any]) -> Tensor:
        """Combined prediction of x0.

        Args:
            x: Point in the reference expert's form, shape (B, C, …).
            sigma: Noise level of the reference, equal entries, shape (B,).
            model_options: The reference's prepared options, with what the sampler added.

        Returns:
            x0 after the CFG hooks, shape of x.

        Raises:
            ValueError: If something wants the unconditional estimate of several spaces, which have none in common.
        """
        if self.spaces.are_several:
            check_guidance(model_options)
        level = NoiseLevel(sigma)
        want_null = bool(model_options.get("disable_cfg1_optimization", False))
        evaluation = evaluate(
            Point(x, level, self.form_of(self.reference).unbounded),
            self.planner.at(level, want_null),
            partial(self.planner.plain_at, level, want_null),
            _NetworksAtPoint(self, x, sigma, level, model_options),
            self.methods if self._separate is None else Methods([*self.methods, self._separate]),
        )
        for observe in self.observers:
            observe(evaluation)
        return self._guide(evaluation, sigma, model_options)

    def _guide(self, evaluation: Evaluation, sigma: Tensor, model_options: dict[str, Any]) -> Tensor:
        """U + s·(C − U), see `Rule.pair`, through the hooks that ComfyUI runs on guidance; see `CfgHooks`."""
        (cond, uncond), plan, x = map(self._shown, evaluation.pair()), evaluation.plan, evaluation.point.x
        own = None
        if 0 in evaluation.cond:
            owner, mask = plan.null_owners[0], self.planner.combination.masks[0]
            null = self._shown(evaluation.null[owner]) if owner in evaluation.null else uncond
            own = Own(self._shown(evaluation.cond[0]), null, None if mask is None else self._shown(mask))
        shared = self.networks.shared
        if any(model_options.get(name) for name in CFG_HOOKS) or not shared.has_objects_of(self.reference):
            shared.activate(self.reference)  # hooks may call its network, samplers read its schedule
        if own is None or not plan.is_single(0):
            model_options = self._hooks.around(model_options, own)
        network, scale = self.reference.model, plan.scale
        own_conds = self.networks.conds[0]
        conds = [own_conds.get(POSITIVE), own_conds.get(NEGATIVE) if plan.nulls else None]
        out = [cond, uncond]
        given = {"conds": conds, "cond_scale": scale, "timestep": sigma, "input": x, "sigma": sigma, "model": network}
        for hook in model_options.get("sampler_pre_cfg_function", []):
            out = hook({**given, "conds_out": out, "model_options": model_options})
        return comfy.samplers.cfg_function(
            network, out[0], out[1], scale, x, sigma, model_options=model_options, cond=conds[0], uncond=conds[1]
        )

    def _shown(self, values: Tensor) -> Tensor:
        """What plans combine, a prediction or a mask, as hooks on the reference's MODEL are given it."""
        return self.spaces.framed(self.reference, values)


@dataclass(frozen=True, eq=False, repr=False)
class _NetworksAtPoint:
    """The networks of a product, asked about one sample at one noise level; workers run while networks here do.

    It is given what `ProductOfRun.predict` is, and the noise level as a number.
    """

    product: ProductOfRun
    x: Tensor
    sigma: Tensor
    level: NoiseLevel
    model_options: dict[str, Any]

    def ask(self, plan: Plan, asked: Asked) -> tuple[Predictions, Predictions]:
        """The predictions asked for, by expert: under conditions, and under nulls; on the device of x."""
        product, requests = self.product, self.product.networks.requests(asked, bool(plan.nulls))
        workers, point_of = product.workers, self._point_of
        # Kept no longer than this call: an object that holds its own method lives on until Python looks for circles.
        here = partial(product.networks.predict, point_of=point_of, model_options=self.model_options)
        predictions = here(requests) if workers is None else workers.predict(requests, point_of, here)
        answers = {made: product.spaces.unframed(x0) for made, x0 in predictions.items()}
        cond, null = ({made.expert: x0 for made, x0 in answers.items() if made.role == role} for role in ROLES)
        return cond, null

    def _point_of(self, patcher: ModelPatcher) -> ModelPoint:
        """The sample of a MODEL's space and its noise level, in the MODEL's own form."""
        product, part = self.product, self.product.state.part_of(patcher, self.x)
        forms = product.form_of(product.reference), product.form_of(patcher)
        return align(part, self.sigma, self.level, *forms, product.spaces.kappa_of(patcher))

    def rows(self, plan: Plan, asked: Asked) -> int:
        """The rows that `ask` would take, of the whole batch."""
        networks = self.product.networks
        return len(self.x) * sum(map(networks.rows, networks.requests(asked, bool(plan.nulls))))

"""The product over several MODELs, and how it meets ComfyUI's CFG hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.alone import Alone, Weigh
from ....mcdm_core.product.lifts import Lifts
from ....mcdm_core.product.plan import Plan
from ....mcdm_core.product.planner import Planner
from ....mcdm_core.product.reuse import Asked, Reuse, RowCount, everything
from ..chain.hooks import CFG_HOOKS
from .cfg_hooks import CfgHooks, Own
from .networks import Networks
from .noise_levels import Forms, align
from .nulls import Nulls
from .types import CONDITION, NULL, ROLES, Evaluation, Observer, Point, Request
from .workers import Workers


class Product:
    """The product of one run.

    Args:
        networks: Those of the experts.
        forms: Those of the MODELs.
        planner: Who is asked at every noise level, and the coefficients; it is told which nulls are the same.
        reuse: What may be left out of a call, and what stands in for it; None leaves nothing out.
        rows: Where rows are counted, if something may be left out.
        observers: Are shown every evaluation, before the CFG hooks; they must not change the tensors.
        workers: Have the experts whose networks are elsewhere; None where all are here.
        lifts: Gathers how far the experts lift the samples; None where nobody asks.
    """

    def __init__(
        self,
        networks: Networks,
        forms: Forms,
        planner: Planner,
        reuse: Reuse | None = None,
        rows: RowCount | None = None,
        observers: Sequence[Observer] = (),
        workers: Workers | None = None,
        lifts: Lifts | None = None,
    ):
        self.networks = networks
        self.reference = networks.reference
        self.forms = forms
        self.planner = planner
        self.reuse = reuse
        self.rows = rows or RowCount()
        self.observers = observers
        self.workers = workers
        self.lifts = lifts
        self._hooks = CfgHooks()
        self._nulls = Nulls(networks)
        planner.share_nulls(self._nulls.shared())

    def predict(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any], weigh: Weigh | None = None) -> Tensor:
        """Combined prediction of x0.

        Args:
            x: Point in the reference expert's form, shape (B, C, …).
            sigma: Noise level of the reference, equal entries, shape (B,).
            model_options: The reference's prepared options, with what the sampler added.
            weigh: Says what each expert counts, where they are asked alone.

        Returns:
            x0 after the CFG hooks, shape of x.
        """
        level = float(sigma[0])
        want_null = bool(model_options.get("disable_cfg1_optimization", False))
        plan = self.planner.at(level, want_null)
        asked = everything(plan) if self.reuse is None else self.reuse.choose(plan, level, x)
        requests = self._requests(plan, asked)
        results = self._evaluate(requests, x, sigma, level, model_options)
        cond: Mapping[int, Tensor]
        null: Mapping[int, Tensor]
        cond, null = ({made.expert: x0 for made, x0 in results.items() if made.role == role} for role in ROLES)
        form = self.forms.of(self.reference)
        if plan.compared:
            needed = Asked(asked.conditions, tuple(j for j in asked.nulls if j not in plan.compared))
            self.rows.add_compared(self._rows_of(requests, x) - self._rows_of(self._requests(plan, needed), x))
        if self.lifts is not None:  # before predictions stand in for others
            self.lifts.take(plan, form.unbounded(level), cond, null)
        counts, alone = (0, 0), cond.get(0)  # not what stands in for it
        if self.reuse is not None:
            plain_plan = self.planner.plain_at(level, want_null)
            plain = self._requests(plain_plan, everything(plain_plan))
            counts = self._rows_of(requests, x), self._rows_of(plain, x)
            self.rows.add(*counts)
            cond, null = self.reuse.complete(plan, form.unbounded(level), cond, null)
        plan = plan.agreed(x, form.signal_scale(level), cond, null)
        if weigh is not None:
            assert isinstance(plan, Alone)
            plan = plan.weighed(weigh, cond, null)
        guided, uncond = plan.pair(cond, null)
        if self.observers:
            predictions = [cond.get(index) for index in range(len(self.networks.experts))]
            evaluation = Evaluation(level, plan, predictions, null, *counts)
            for observer in self.observers:
                observer(evaluation)
        own = None if alone is None else Own(alone, null.get(plan.sharing[0], uncond), self.planner.masks[0])
        return self._guide(guided, uncond, plan, own, x, sigma, model_options)

    def _guide(
        self,
        guided: Tensor,
        uncond: Tensor,
        plan: Plan,
        own: Own | None,
        x: Tensor,
        sigma: Tensor,
        model_options: dict[str, Any],
    ) -> Tensor:
        """U + s·(C − U), see `Rule.pair`, through the hooks that ComfyUI runs on guidance; see `CfgHooks`."""
        weights = self.networks.weights
        if any(model_options.get(name) for name in CFG_HOOKS) or not weights.has_objects_of(self.reference):
            weights.activate(self.reference)  # hooks may call its network, samplers ask for its schedule
        if own is None or not plan.is_one_alone(0):
            model_options = self._hooks.around(model_options, own)
        model, scale = self.reference.model, plan.scale
        given = self.networks.conds[0]
        conds = [given.get(CONDITION), given.get(NULL) if plan.nulls else None]
        out = [guided, uncond]
        for hook in model_options.get("sampler_pre_cfg_function", []):
            out = hook(
                {
                    "conds": conds,
                    "conds_out": out,
                    "cond_scale": scale,
                    "timestep": sigma,
                    "input": x,
                    "sigma": sigma,
                    "model": model,
                    "model_options": model_options,
                }
            )
        return comfy.samplers.cfg_function(
            model, out[0], out[1], scale, x, sigma, model_options=model_options, cond=conds[0], uncond=conds[1]
        )

    def _requests(self, plan: Plan, asked: Asked) -> list[Request]:
        """Every prediction to make once: under the conditions, and under the nulls that are not the same."""
        requests = [Request(i, CONDITION) for i in asked.conditions]
        return requests + [Request(j, NULL) for j in self._nulls.to_ask(asked, bool(plan.nulls))]

    def _rows_of(self, requests: list[Request], x: Tensor) -> int:
        return len(x) * sum(map(self.networks.rows, requests))

    def _evaluate(
        self, requests: list[Request], x: Tensor, sigma: Tensor, level: float, model_options: dict[str, Any]
    ) -> dict[Request, Tensor]:
        """The answers to all requests, on the device of x; workers are at work while networks here are."""

        def point_of(patcher: ModelPatcher) -> Point:
            return align(x, sigma, level, self.forms.of(self.reference), self.forms.of(patcher))

        here = partial(self.networks.answers, point_of=point_of, model_options=model_options)
        return here(requests) if self.workers is None else self.workers.answers(requests, point_of, here)

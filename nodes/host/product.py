"""The product over several MODELs: its passes, their batches, and how results meet ComfyUI's CFG hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...mcdm_core.product.plan import Factor, Plan
from ...mcdm_core.product.planner import Planner
from ...mcdm_core.product.reuse import Asked, Reuse, RowCount, everything
from .clones import SharedWeights
from .cores import drop_prefetched
from .devices import Devices, device_of
from .expert_chain import Experts
from .network_calls import Call, around_calls
from .noise_levels import align, signal_scale, unbounded_level
from .prepared import CFG_HOOKS, Conds, asked_models, reads_pairs, same_conditioning
from .row_adapters import RowsUnknownError

logger = logging.getLogger(__name__)

CONDITION, NULL = "positive", "negative"
_ROLES = {CONDITION: 0, NULL: 1}  # what patches see as cond_or_uncond


@dataclass(frozen=True)
class Request:
    """One prediction to be made: an expert's, under its condition or its null."""

    expert: int
    role: str


@dataclass(frozen=True)
class Evaluation:
    """What a product is made of at one noise level.

    Attributes:
        sigma: Noise level of the reference.
        plan: Who was asked, and the coefficients.
        cond: Each expert's x0 under its condition, shape (B, C, …); None where it was not needed.
        uncond: U, shape (B, C, …); None where it was not needed.
        null: x0 under the distinct nulls, shape (B, C, …), by the experts whose they are.
        rows: How many rows networks were asked; not counted where nothing may be left out.
        plain_rows: How many the plain product would have taken.
    """

    sigma: float
    plan: Plan
    cond: list[Tensor | None]
    uncond: Tensor | None
    null: Mapping[int, Tensor] = field(default_factory=dict)
    rows: int = 0
    plain_rows: int = 0

    def factors(self) -> list[Factor]:
        """What the product is the sum of, before the CFG hooks."""
        return self.plan.factors({i: x0 for i, x0 in enumerate(self.cond) if x0 is not None}, self.null)


Observer = Callable[[Evaluation], None]
Point = tuple[Tensor, Tensor]
"""x in a MODEL's own form, shape (B, C, …), and σ of equal entries, shape (B,)."""


class Workers(Protocol):
    """Has experts whose networks are on workers."""

    def answers(
        self,
        requests: list[Request],
        point_of: Callable[[ModelPatcher], Point],
        here: Callable[[list[Request]], dict[Request, Tensor]],
    ) -> dict[Request, Tensor]:
        """Predictions of x0.

        Args:
            requests: What is asked.
            point_of: x and σ in a MODEL's own form.
            here: Answers those of the requests whose networks are here.
        """


class Product:
    """The product of one run.

    Args:
        experts: The chain, the reference first.
        conds: Each expert's processed conditioning, by role; a role is missing where nothing is connected.
        options: Prepared model_options of every MODEL but the reference, whose options come with each call.
        planner: Who is asked at every noise level, and the coefficients; it is told which nulls are the same.
        weights: Switches between MODELs of one network.
        devices: Those of the MODELs, on which they are asked at once.
        reuse: What may be left out of a call, and what stands in for it; None leaves nothing out.
        rows: Where rows are counted, if something may be left out.
        observers: Are shown every evaluation, before the CFG hooks; they must not change the tensors.
        workers: Have the experts whose networks are elsewhere; None where all are here.
    """

    def __init__(
        self,
        experts: Experts,
        conds: Sequence[Conds],
        options: dict[ModelPatcher, dict[str, Any]],
        planner: Planner,
        weights: SharedWeights,
        devices: Devices,
        reuse: Reuse | None = None,
        rows: RowCount | None = None,
        observers: Sequence[Observer] = (),
        workers: Workers | None = None,
    ):
        self.experts = experts
        self.reference = experts[0].model
        self.conds = conds
        self.options = options
        self.planner = planner
        self.weights = weights
        self.devices = devices
        self.reuse = reuse
        self.rows = rows or RowCount()
        self.observers = observers
        self.workers = workers
        self._asked = asked_models(experts)
        self._in_pairs = [reads_pairs(expert.model) for expert in experts]
        self._told_of_pairs = False
        for expert, own, in_pairs in zip(experts, conds, self._in_pairs, strict=True):
            if in_pairs and NULL not in own:
                logger.warning(
                    "The MODEL of %s reads its null beside its condition, and it has none; connect its null.",
                    expert.label,
                )
        planner.share_nulls([self._null_of(index) for index in range(len(experts))])

    def predict(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any]) -> Tensor:
        """Combined prediction of x0.

        Args:
            x: Point in the reference expert's form, shape (B, C, …).
            sigma: Noise level of the reference, equal entries, shape (B,).
            model_options: The reference's prepared options, with what the sampler added.

        Returns:
            x0 after the CFG hooks, shape of x.
        """
        level = float(sigma[0])
        want_null = bool(model_options.get("disable_cfg1_optimization", False))
        plan = self.planner.at(level, want_null)
        asked = everything(plan) if self.reuse is None else self.reuse.choose(plan, level, x)
        requests = self._requests(asked)
        results = self._evaluate(requests, x, sigma, model_options)
        cond: Mapping[int, Tensor]
        null: Mapping[int, Tensor]
        cond, null = ({made.expert: x0 for made, x0 in results.items() if made.role == role} for role in _ROLES)
        sampling = self.reference.get_model_object("model_sampling")
        if plan.compared:
            needed = Asked(asked.conditions, tuple(j for j in asked.nulls if j not in plan.compared))
            self.rows.add_compared(self._rows_of(requests, x) - self._rows_of(self._requests(needed), x))
        counts = (0, 0)
        if self.reuse is not None:
            plain = self._requests(everything(self.planner.plain_at(level, want_null)))
            counts = self._rows_of(requests, x), self._rows_of(plain, x)
            self.rows.add(*counts)
            cond, null = self.reuse.complete(plan, unbounded_level(level, sampling), cond, null)
        plan = plan.agreed(x, signal_scale(level, sampling), cond, null)
        guided, uncond = plan.pair(cond, null)
        if self.observers:
            predictions = [cond.get(index) for index in range(len(self.experts))]
            evaluation = Evaluation(level, plan, predictions, uncond if plan.nulls else None, null, *counts)
            for observer in self.observers:
                observer(evaluation)
        return self._guide(guided, uncond, plan, x, sigma, model_options)

    def _guide(
        self, guided: Tensor, uncond: Tensor, plan: Plan, x: Tensor, sigma: Tensor, model_options: dict[str, Any]
    ) -> Tensor:
        """U + s·(C − U), see `Rule.pair`, through the hooks that ComfyUI runs on guidance."""
        if any(model_options.get(name) for name in CFG_HOOKS) or not self.weights.has_objects_of(self.reference):
            self.weights.activate(self.reference)  # hooks may call its network, samplers ask for its schedule
        model, scale = self.reference.model, plan.scale
        conds = [self.conds[0].get(CONDITION), self.conds[0].get(NULL) if plan.nulls else None]
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

    def _requests(self, asked: Asked) -> list[Request]:
        """Every prediction to make once: under the conditions, and under the nulls that are not the same."""
        requests = [Request(i, CONDITION) for i in asked.conditions]
        return requests + [Request(j, NULL) for j in self._nulls_to_ask(asked)]

    def _rows_of(self, requests: list[Request], x: Tensor) -> int:
        return len(x) * sum(len(self.conds[request.expert][request.role]) for request in requests)

    def answers(
        self, requests: list[Request], point_of: Callable[[ModelPatcher], Point], model_options: dict[str, Any]
    ) -> dict[Request, Tensor]:
        """Predictions of x0, each where its MODEL's point is.

        Args:
            requests: What is asked, of networks that are here.
            point_of: x and σ in a MODEL's own form.
            model_options: The reference's prepared options.
        """
        asked: dict[torch.device, list[tuple[ModelPatcher, list[Request]]]] = {}
        for patcher, mine in self._by_model(requests):
            asked.setdefault(device_of(patcher), []).append((patcher, mine))
        ask = partial(self._ask, point_of=point_of, model_options=model_options)
        answers = self.devices.run({device: partial(ask, models) for device, models in asked.items()})
        return {request: x0 for found in answers for request, x0 in found.items()}

    def asked_in_place_of(self, model: ModelPatcher) -> ModelPatcher:
        """The MODEL whose batch an expert's is asked in, which may be that of one that predicts alike."""
        return self.weights.asked_with(self._asked[model])

    def _evaluate(
        self, requests: list[Request], x: Tensor, sigma: Tensor, model_options: dict[str, Any]
    ) -> dict[Request, Tensor]:
        """The answers to all requests, on the device of x; workers are at work while networks here are."""

        def point_of(patcher: ModelPatcher) -> Point:
            if patcher is self.reference:
                return x, sigma
            return align(x, sigma, *(p.get_model_object("model_sampling") for p in (self.reference, patcher)))

        here = partial(self.answers, point_of=point_of, model_options=model_options)
        return here(requests) if self.workers is None else self.workers.answers(requests, point_of, here)

    def _ask(
        self,
        asked: list[tuple[ModelPatcher, list[Request]]],
        check: Callable[[], None],
        point_of: Callable[[ModelPatcher], Point],
        model_options: dict[str, Any],
    ) -> dict[Request, Tensor]:
        """The answers of the MODELs on one device."""
        results: dict[Request, Tensor] = {}
        for patcher, mine in asked:
            check()
            # Asked for before the weights are switched: with several clones, the network has only one's model_sampling.
            x, sigma = point_of(patcher)
            options = model_options if patcher is self.reference else self.options[patcher]
            for batch in self._batches(mine, options):
                answers = self._answer(batch, x.to(patcher.load_device), sigma.to(patcher.load_device), options)
                results |= {request: x0.to(x.device) for request, x0 in answers.items()}
        return results

    def _nulls_to_ask(self, wanted: Asked) -> list[int]:
        """The experts whose null is asked: where the product needs it, and beside the conditions read with it."""
        beside = [i for i in wanted.conditions if self._in_pairs[i] and NULL in self.conds[i]]
        asked = list(dict.fromkeys([*wanted.nulls, *beside]))
        if beside and not self._told_of_pairs:
            self._told_of_pairs = True
            needed = {self._first_with_same_null(j) for j in wanted.nulls}
            more = sum(len(self.conds[j][NULL]) for j in asked) - sum(len(self.conds[j][NULL]) for j in needed)
            logger.info(
                "The MODEL of %s reads condition and null in one batch, so that each is asked for both by itself: "
                "%d more rows per picture at every step.",
                " and ".join(self.experts[i].label for i in beside),
                more,
            )
        return asked

    def _by_model(self, requests: list[Request]) -> list[tuple[ModelPatcher, list[Request]]]:
        """The MODELs to ask, those first whose weights are in place, and what each is asked."""
        found: dict[ModelPatcher, list[Request]] = {}
        for request in requests:
            found.setdefault(self.weights.asked_with(self._model(request)), []).append(request)
        last = self.reference if self.planner.null_is_read else None  # a patch keeps what it met last
        return sorted(found.items(), key=lambda entry: (entry[0] is last, not self.weights.is_active(entry[0])))

    def _batches(self, requests: list[Request], options: dict[str, Any]) -> list[list[Request]]:
        """Requests to one MODEL, split into calls of ComfyUI's batching.

        A ControlNet, a node that replaces the batching, and a node or network that reads rows beside one another expect
        one condition and its null. So does a hook that reads the first expert's null; that pass is the last.
        """
        apart = {
            request.expert
            for request in requests
            if "sampler_calc_cond_batch_function" in options
            or self._in_pairs[request.expert]
            or any("control" in entry for entry in self.conds[request.expert][request.role])
        }
        if self.planner.null_is_read and [request.role for request in requests].count(NULL) > 1:
            apart.add(0)
        by_expert = [[request for request in requests if request.expert == i] for i in sorted(apart, reverse=True)]
        together = [request for request in requests if request.expert not in apart]
        return [batch for batch in (together, *by_expert) if batch]

    def _model(self, request: Request) -> ModelPatcher:
        return self._asked[self.experts[request.expert].model]

    def _answer(self, batch: list[Request], x: Tensor, sigma: Tensor, options: dict[str, Any]) -> dict[Request, Tensor]:
        """Predictions of x0 for requests to MODELs that are one, or that differ in adapters alone."""
        models = [self._model(request) for request in batch]
        self.weights.activate(models[0])
        adapters = self.weights.adapters(models[0])
        if adapters is None:
            return dict(zip(batch, self._run(models[0], batch, x, sigma, options), strict=True))
        alone = len(set(models)) == 1
        told = partial(adapters.told, models=models)
        try:
            with adapters.watching() if alone else adapters.sharing():
                return dict(zip(batch, self._run(models[0], batch, x, sigma, options, told), strict=True))
        except RowsUnknownError:  # by now there is no sharing, or nothing that adds
            drop_prefetched()  # of the pass that was given up
            apart = [[request for request in batch if self._model(request) is model] for model in dict.fromkeys(models)]
            return {key: x0 for mine in apart for key, x0 in self._answer(mine, x, sigma, options).items()}

    def _run(
        self,
        patcher: ModelPatcher,
        batch: list[Request],
        x: Tensor,
        sigma: Tensor,
        options: dict[str, Any],
        told: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> list[Tensor]:
        """Predictions of x0 for one call, in the order of `batch` (conditions first); `told` changes its options."""
        conds: list[list[dict] | None] = [self.conds[request.expert][request.role] for request in batch]
        roles = [_ROLES[request.role] for request in batch]
        if roles in ([0], [0, 1]):
            conds = [*conds, None][:2]
        elif roles == [1]:
            conds = [None, *conds]
        else:
            options = _with_roles(options, roles)
        options = told(options)
        calc = options.get("sampler_calc_cond_batch_function")
        if calc is None:
            out = comfy.samplers.calc_cond_batch(patcher.model, conds, x, sigma, options)
        else:
            args = {"conds": conds, "input": x, "sigma": sigma, "model": patcher.model, "model_options": options}
            out = calc(args)
        return out[1:] if roles == [1] else out[: len(batch)]

    def _null_of(self, index: int) -> int:
        """The expert whose null is taken for this one's: its own where the condition beside it changes the null."""
        first = self._first_with_same_null(index)
        return index if self._in_pairs[index] or self._in_pairs[first] else first

    def _first_with_same_null(self, index: int) -> int:
        null = self.conds[index].get(NULL)
        for first in range(index):
            other = self.conds[first].get(NULL)
            asked = [self._asked[self.experts[i].model] for i in (first, index)]
            if null and other and asked[0] is asked[1] and same_conditioning(null, other):
                return first
        return index


def _with_roles(options: dict[str, Any], roles: list[int]) -> dict[str, Any]:
    """Options under which patches see 0 for every condition and 1 for every null.

    ComfyUI numbers rows by their place in the list.
    """

    def with_roles(call: Call, args: dict[str, Any]) -> Tensor:
        rows = [roles[place] for place in args["cond_or_uncond"]]
        transformer_options = {**args["c"]["transformer_options"], "cond_or_uncond": rows}
        return call({**args, "cond_or_uncond": rows, "c": {**args["c"], "transformer_options": transformer_options}})

    return around_calls(options, with_roles)


def warn_of_idle_hooks(experts: Experts) -> None:
    """Name the experts whose CFG hooks don't run: only the reference's do, once, on the product."""
    active = _cfg_hooks(experts[0].model)
    for expert in experts:
        elsewhere = getattr(expert.model.model, "guidance", [])  # of a MODEL on a worker, where they don't run
        if elsewhere or any(hook not in active for hook in _cfg_hooks(expert.model)):
            logger.warning(
                "A node changed the guidance of %s's MODEL; only the first expert's guidance hooks run, on the whole "
                "product.",
                expert.label,
            )


def _cfg_hooks(patcher: ModelPatcher) -> list[Callable]:
    found = [patcher.model_options.get(name) for name in CFG_HOOKS]
    return [hook for hooks in found if hooks is not None for hook in (hooks if isinstance(hooks, list) else [hooks])]

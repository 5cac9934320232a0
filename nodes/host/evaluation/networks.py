"""The networks of a product's experts, asked in ComfyUI's batches and on their own devices.

`NetworksOfRun` sorts requests by device and MODEL, and makes batches of those to one MODEL, each a call of ComfyUI's.
One question goes this way, from the core to a network:

1. `mcdm_core.product.evaluate` asks `_NetworksAtPoint.ask` (`product.py`) for what the plan takes, in which a null that
   experts share stands once;
2. `NetworksOfRun.requests` makes requests of it, and adds the null of a MODEL that reads it beside its condition;
3. those to experts on workers go to them; `NetworksOfRun.predict` sorts the others by the MODEL in whose batch they are
   asked (`asked_with`) and by device, and `Devices.run` asks devices side by side;
4. `_predict_on_device` takes each MODEL's x and σ in its own form, and splits its requests (`_batches`);
5. `_predict_batch` has `SharedNetworks.in_one_pass` (`weights/clones.py`) put the weights in place, adapters by rows; a
   pass that is given up is made again, each MODEL by itself;
6. `_call` hands the batch to `comfy.samplers.calc_cond_batch`, or to the node that replaces it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.product.evaluation.plan import Asked
from ..chain.attachments import naming_failed_experts
from ..chain.conditioning_hooks import patches_passes
from ..chain.expert_chain import Conds, Experts
from ..comfyui.devices import Devices, device_of
from ..comfyui.network_calls import NetworkCall, around_calls, without_prompt_caches
from ..weights.adapter_groups import stand_ins
from ..weights.clones import SharedNetworks
from ..weights.differences import alike
from .pairs import pairs_of
from .requests import NEGATIVE, POSITIVE, ROLES, ModelPoint, Request

logger = logging.getLogger(__name__)

OptionsOf = Mapping[ModelPatcher, dict[str, Any]]


@dataclass(eq=False, repr=False)
class NetworksOfRun:
    """The networks of a run: which predictions are asked of the experts, and the answers of those that are here.

    Attributes:
        experts: The chain, the reference first.
        conds: Each expert's processed conditioning, by role; without a role to which nothing is connected.
        read_nulls: See `Combination`; such a null's pass is one of its own, and the last.
        options: Prepared model_options of every MODEL but the reference, whose options come with each call. They are
            handed on as the objects that they are, because nodes keep in them what they remember of the run.
        shared: Switches between MODELs of one network.
        devices: The devices of the MODELs; networks on different devices are asked at the same time.
    """

    experts: Experts
    conds: Sequence[Conds]
    read_nulls: Collection[int]
    options: OptionsOf
    shared: SharedNetworks
    devices: Devices

    def __post_init__(self) -> None:
        experts = self.experts
        self.reference = experts[0].model
        self._pairs = [pairs_of(expert.model) for expert in experts]
        self._stand_ins = stand_ins(experts)
        self._told_of_pairs = False
        for expert, own, pairs in zip(experts, self.conds, self._pairs, strict=True):
            if pairs.are_read and NEGATIVE not in own:
                logger.warning(
                    "The MODEL of %s reads the negative beside the prompt, and there is none; connect negative.",
                    expert.label,
                )

    def rows(self, request: Request) -> int:
        """The rows that a request takes per sample of the batch."""
        return len(self.conds[request.expert][request.role])

    def asked_with(self, expert: int) -> ModelPatcher:
        """The MODEL in whose batch an expert's predictions are asked."""
        return self.shared.asked_with(self._stand_in_of(expert))

    def null_owners(self) -> list[int]:
        """For every expert the one whose null is used as its own: itself if a condition beside a null may change it."""
        in_pairs = [each.may_be_read for each in self._pairs]
        firsts = map(self._first_with_same_null, range(len(in_pairs)))
        return [index if in_pairs[index] or in_pairs[first] else first for index, first in enumerate(firsts)]

    def requests(self, asked: Asked, takes_nulls: bool) -> list[Request]:
        """The predictions to make: under the conditions, and under the distinct nulls.

        Args:
            asked: The predictions that the product needs.
            takes_nulls: Whether the product needs any. False at cfg 1, where ComfyUI takes no negatives unless a node
                demands them.
        """
        read_beside = [each.may_be_read if takes_nulls else each.are_read for each in self._pairs]
        beside = [i for i in asked.conditions if read_beside[i] and NEGATIVE in self.conds[i]]
        nulls = [Request(j, NEGATIVE) for j in dict.fromkeys([*asked.nulls, *beside])]
        if beside and not self._told_of_pairs:
            self._told_of_pairs = True
            needed = {Request(self._first_with_same_null(j), NEGATIVE) for j in asked.nulls}
            logger.info(
                "The MODEL of %s, or a node on it, may read the prompt beside its negative, so each prompt is asked "
                "together with its own negative: %d more rows per picture at every step.",
                " and ".join(self.experts[i].label for i in beside),
                sum(map(self.rows, nulls)) - sum(map(self.rows, needed)),
            )
        return [Request(i, POSITIVE) for i in asked.conditions] + nulls

    def predict(
        self, requests: list[Request], point_of: Callable[[ModelPatcher], ModelPoint], model_options: dict[str, Any]
    ) -> dict[Request, Tensor]:
        """Predictions of x0, each on the device of its MODEL's x.

        Args:
            requests: The predictions to make, by networks that are here.
            point_of: Gives x and σ in a MODEL's own form.
            model_options: The reference's prepared options.
        """
        by_device: dict[torch.device, list[tuple[ModelPatcher, list[Request]]]] = {}
        for patcher, mine in self._by_patcher(requests):
            by_device.setdefault(device_of(patcher), []).append((patcher, mine))
        options = {**self.options, self.reference: model_options}
        predict = partial(self._predict_on_device, point_of=point_of, options=options)
        made = self.devices.run({device: partial(predict, by_patcher) for device, by_patcher in by_device.items()})
        return {request: x0 for predictions in made for request, x0 in predictions.items()}

    def _stand_in_of(self, expert: int) -> ModelPatcher:
        """The MODEL that an expert's predictions are asked of, its own or the first that predicts the same."""
        return self._stand_ins[self.experts[expert].model]

    def _by_patcher(self, requests: list[Request]) -> list[tuple[ModelPatcher, list[Request]]]:
        """The requests to each MODEL; those whose weights are in place come first."""
        by_patcher: dict[ModelPatcher, list[Request]] = {}
        for request in requests:
            by_patcher.setdefault(self.asked_with(request.expert), []).append(request)
        last = {self.experts[i].model for i in self.read_nulls}  # a patch keeps what it met last
        return sorted(by_patcher.items(), key=lambda entry: (entry[0] in last, not self.shared.is_active(entry[0])))

    def _predict_on_device(
        self,
        by_patcher: list[tuple[ModelPatcher, list[Request]]],
        check: Callable[[], None],
        point_of: Callable[[ModelPatcher], ModelPoint],
        options: OptionsOf,
    ) -> dict[Request, Tensor]:
        """Predictions by the MODELs on one device, one MODEL after the other; `check` raises what ends the run."""
        made: dict[Request, Tensor] = {}
        for patcher, mine in by_patcher:
            check()
            # Before the weights are switched: of several clones, the network has the model_sampling of only one.
            x, sigma = point_of(patcher)
            point = x.to(patcher.load_device), sigma.to(patcher.load_device)
            for batch in self._batches(mine, options[patcher]):
                predictions = self._predict_batch(batch, patcher, point, options)
                made |= {request: x0.to(x.device) for request, x0 in predictions.items()}
        return made

    def _batches(self, requests: list[Request], options: dict[str, Any]) -> list[list[Request]]:
        """Requests to one MODEL, split into calls of ComfyUI's batching.

        An expert has a call of its own, with one condition and its null, if something expects just that: a ControlNet,
        a hook that patches passes, a node that replaces the batching, or a node or network that reads rows beside one
        another. So does a hook that reads the expert's null pass; that call is the last.
        """
        apart = {
            request.expert
            for request in requests
            if "sampler_calc_cond_batch_function" in options
            or self._pairs[request.expert].may_be_read
            or any("control" in entry or patches_passes(entry) for entry in self.conds[request.expert][request.role])
        }
        if [request.role for request in requests].count(NEGATIVE) > 1:
            apart.update(self.read_nulls)
        by_expert = [[request for request in requests if request.expert == i] for i in sorted(apart, reverse=True)]
        together = [request for request in requests if request.expert not in apart]
        return [batch for batch in (together, *by_expert) if batch]

    def _predict_batch(
        self, batch: list[Request], asked_with: ModelPatcher, point: ModelPoint, options: OptionsOf
    ) -> dict[Request, Tensor]:
        """Predictions for requests to one MODEL, or to several that differ only in adapters, by one's options."""
        patchers = [self._stand_in_of(request.expert) for request in batch]
        own = options[asked_with]
        predictions = self.shared.in_one_pass(patchers, own, partial(self._call, patchers[0], batch, point, own))
        if predictions is not None:
            return dict(zip(batch, predictions, strict=True))
        apart: dict[ModelPatcher, list[Request]] = {}  # in one pass it can't be done
        for request, patcher in zip(batch, patchers, strict=True):
            apart.setdefault(patcher, []).append(request)
        each = (self._predict_batch(mine, patcher, point, options) for patcher, mine in apart.items())
        return {request: x0 for predictions in each for request, x0 in predictions.items()}

    def _call(
        self,
        patcher: ModelPatcher,
        batch: list[Request],
        point: ModelPoint,
        options: dict[str, Any],
        owners: AbstractContextManager[None],
    ) -> list[Tensor]:
        """One call of ComfyUI's batching: predictions of x0 in the order of `batch` (conditions first).

        Within `owners`, layers know whose rows are whose; it comes from `SharedNetworks.in_one_pass`.
        """
        conds: list[list[dict] | None] = [self.conds[request.expert][request.role] for request in batch]
        roles = [ROLES[request.role] for request in batch]
        with ExitStack() as stack:
            if self.shared.is_shared(patcher):
                stack.enter_context(without_prompt_caches(options, patcher.model))
            if roles in ([0], [0, 1]):
                conds = [*conds, None][:2]
            elif roles == [1]:
                conds = [None, *conds]
            else:
                stack.enter_context(_with_roles(options, roles))
            stack.enter_context(owners)  # outside the roles, because it goes by positions in the list
            stack.enter_context(naming_failed_experts(self.experts, [request.expert for request in batch]))
            calc = options.get("sampler_calc_cond_batch_function")
            if calc is None:
                out = comfy.samplers.calc_cond_batch(patcher.model, conds, *point, options)
            else:
                args = {"conds": conds, "input": point[0], "sigma": point[1], "model": patcher.model}
                out = calc({**args, "model_options": options})
        return out[1:] if roles == [1] else out[: len(batch)]

    def _first_with_same_null(self, index: int) -> int:
        null = self.conds[index].get(NEGATIVE)
        for first in range(index):
            other = self.conds[first].get(NEGATIVE)
            of_one = self._stand_in_of(first) is self._stand_in_of(index)
            if null and other and of_one and alike(null, other):
                return first
        return index


def _with_roles(options: dict[str, Any], roles: list[int]) -> AbstractContextManager[None]:
    """While it lasts, patches see 0 for every condition and 1 for every null.

    ComfyUI numbers rows by their position in the list.
    """

    def with_roles(call: NetworkCall, args: dict[str, Any]) -> Tensor:
        rows = [roles[index] for index in args["cond_or_uncond"]]
        transformer_options = {**args["c"]["transformer_options"], "cond_or_uncond": rows}
        return call({**args, "cond_or_uncond": rows, "c": {**args["c"], "transformer_options": transformer_options}})

    return around_calls(options, with_roles)

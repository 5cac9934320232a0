"""A run of a product with experts on workers, which are set up before it and asked for predictions during it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, ClassVar

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...mcdm_core.product.evaluation.forms import align_levels
from ..host.chain.expert_chain import Experts, WiredTerm
from ..host.evaluation.model_forms import FormOf
from ..host.evaluation.requests import ModelPoint, Request
from ..host.run.prepared import RunInputs
from . import cluster
from .cluster import WorkerName
from .files import send_files
from .prompt_part import PromptPart
from .wire import to_buffer, to_tensor


def before_core(mask: Tensor) -> Tensor:
    """A mask that core has prepared for a run, as it can prepare it once more: with one channel, (B, 1, …)."""
    return mask[:, :1]


class WorkersOfRun:
    """The workers of one run.

    A worker that was restarted no longer knows the run: it is set up again, and asked again.

    Args:
        experts: The chain.

    Raises:
        ValueError: If a worker cannot be found.
    """

    def __init__(self, experts: Experts):
        self._experts = experts
        self._remote = {index: expert for index, expert in enumerate(experts) if isinstance(expert, RemoteExpert)}
        self._of_worker: dict[WorkerName, list[int]] = {}
        self._timeouts: dict[WorkerName, float] = {}
        for index, expert in self._remote.items():
            worker: WorkerName = expert.model.model.worker
            self._of_worker.setdefault(worker, []).append(index)
            self._timeouts[worker] = max(expert.timeout, self._timeouts.get(worker, 0.0))
        self._actors = {worker: cluster.find_worker(worker) for worker in self._of_worker}
        self._setups: dict[WorkerName, dict[str, Any]] = {}
        self._name = uuid.uuid4().hex

    def begin(self, inputs: RunInputs, form_of: FormOf) -> None:
        """Set up the run on the workers, which load their experts and make their conditions, see `Workers.begin`.

        Raises:
            ValueError: If a worker refuses, or the latent has several parts.
        """
        if len(inputs.shapes) > 1:
            raise ValueError(
                "Expected a single latent for experts on workers and got a nested one; sample such a model here."
            )
        reference = form_of(self._experts[0].model)
        common = {
            "run": self._name,
            "noise": to_buffer(inputs.noise),
            "latent_image": to_buffer(inputs.latent_image),
            "denoise_mask": None if inputs.denoise_mask is None else to_buffer(before_core(inputs.denoise_mask)),
            "seed": inputs.seed,
        }
        for worker, indices in self._of_worker.items():
            setup = self._setups[worker] = {**common, "nodes": {}, "models": {}, "experts": []}
            for index in indices:
                expert = self._remote[index]
                levels = align_levels(inputs.sigmas, reference, form_of(expert.model))
                setup["nodes"] |= expert.part.nodes
                setup["models"] |= expert.part.models
                own = {"index": index, "place": expert.place, "links": expert.part.links, "levels": to_buffer(levels)}
                setup["experts"].append(own)
        cluster.wait([(self.set_up(worker), lambda answer: None) for worker in self._of_worker], self._timeouts)

    def predict(
        self,
        requests: list[Request],
        point_of: Callable[[ModelPatcher], ModelPoint],
        here: Callable[[list[Request]], dict[Request, Tensor]],
    ) -> dict[Request, Tensor]:
        """Predictions of x0, by workers and by the networks here at the same time."""
        local = [request for request in requests if request.expert not in self._remote]
        predictions: dict[Request, Tensor] = {}
        batches = []
        for worker, indices in self._of_worker.items():
            mine = [request for request in requests if request.expert in indices]
            if mine:
                batches.append(self._batch(worker, mine, point_of, predictions))
        calls = [(ask(), take) for ask, take in batches]
        try:
            if local:
                predictions |= here(local)
            cluster.wait(calls, self._timeouts)
        except BaseException:
            for actor in self._actors.values():
                actor.call.remote("cancel", self._name)
            raise
        return predictions

    def close(self) -> None:
        """Let the workers end the run."""
        for worker, actor in self._actors.items():
            if worker in self._setups:
                actor.call.remote("finish", self._name)

    def _batch(
        self,
        worker: WorkerName,
        requests: list[Request],
        point_of: Callable[[ModelPatcher], ModelPoint],
        predictions: dict[Request, Tensor],
    ) -> tuple[Callable[[], cluster.WorkerCall], cluster.Then]:
        """What asks one worker in one evaluation of the product, and what takes its answers.

        Args:
            worker: The worker.
            requests: The requests to it.
            point_of: Returns x and σ in a MODEL's own form.
            predictions: Is given the worker's.
        """
        patchers = {request: self._experts[request.expert].model for request in requests}
        points = {patcher: point_of(patcher) for patcher in dict.fromkeys(patchers.values())}
        sent = {patcher: (to_buffer(x), float(sigma[0])) for patcher, (x, sigma) in points.items()}
        question = []
        for request in requests:
            x, sigma = sent[patchers[request]]
            question.append({"expert": request.expert, "role": request.role, "x": x, "sigma": sigma})

        def ask() -> cluster.WorkerCall:
            return cluster.WorkerCall(worker, self._actors[worker], "predict", self._name, question)

        def take(answer: dict[str, Any]) -> cluster.WorkerCall | None:
            """Set up a run that the worker doesn't know, ask after that, or keep its predictions."""
            if answer.get("unknown"):
                return self.set_up(worker)
            if "predictions" not in answer:
                return ask()
            for request, buffer in zip(requests, answer["predictions"], strict=True):
                x, _ = points[patchers[request]]
                predictions[request] = to_tensor(buffer, tuple(x.shape)).to(x)
            return None

        return ask, take

    def set_up(self, worker: WorkerName) -> cluster.WorkerCall:
        """Set up the run on a worker, which doesn't know it yet, or has lost it."""
        parts = [self._remote[index].part for index in self._of_worker[worker]]
        files = {name: path for part in parts for name, path in part.files.items()}
        send_files(partial(cluster.call_worker, worker, self._timeouts[worker]), files)
        return cluster.WorkerCall(worker, self._actors[worker], "begin", self._setups[worker])


@dataclass(frozen=True, eq=False)
class RemoteExpert(WiredTerm):
    """One expert of a product whose network, condition and null are on a worker.

    Attributes:
        part: The nodes that make them on the worker.
        timeout: Seconds for which the worker may be silent.
    """

    _: KW_ONLY
    part: PromptPart
    timeout: float
    workers: ClassVar[Any] = WorkersOfRun

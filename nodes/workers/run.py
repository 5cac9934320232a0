"""A run of a product some of whose experts are on workers: what the workers are told before it, and asked in it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..host.chain.expert_chain import ExpertInput, Experts
from ..host.evaluation.noise_levels import Forms, align_levels
from ..host.evaluation.types import ModelPoint, Request
from ..host.evaluation.workers import Start
from . import cluster
from .files import send_files
from .model import RemoteModel, WorkerName, is_remote
from .prompt_part import PromptPart
from .wire import to_buffer, to_tensor


@dataclass(frozen=True, eq=False)
class RemoteExpert(ExpertInput):
    """One expert of a product whose network, condition and null are on a worker.

    Attributes:
        part: What makes them there.
        timeout: Seconds for which the worker may give no sign of life.
    """

    _: KW_ONLY
    part: PromptPart
    timeout: float

    def workers(self, experts: Experts) -> WorkersOfRun:
        """See `ExpertOnWorker`."""
        return WorkersOfRun(experts)


class WorkersOfRun:
    """The workers of one run.

    A worker that was started anew knows nothing of the run: it is told again, and asked again.

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
            worker = _network(expert).worker
            self._of_worker.setdefault(worker, []).append(index)
            self._timeouts[worker] = max(expert.timeout, self._timeouts.get(worker, 0.0))
        self._actors = {worker: cluster.find_worker(worker) for worker in self._of_worker}
        self._told: dict[WorkerName, dict[str, Any]] = {}
        self._name = uuid.uuid4().hex

    def begin(self, start: Start, shapes: Sequence[Sequence[int]], forms: Forms) -> None:
        """Tell the workers of the run; they load their experts and make their conditions.

        Args:
            start: What it starts from.
            shapes: Of what the latent holds.
            forms: Those of the run.

        Raises:
            ValueError: If a worker refuses, or the latent is made of several.
        """
        if len(shapes) > 1:
            raise ValueError(
                "Expected a single latent for experts on workers and got a nested one; sample such a model here."
            )
        reference = forms.of(self._experts[0].model)
        common = {
            "run": self._name,
            "noise": to_buffer(start.noise),
            "latent_image": to_buffer(start.latent_image),
            "denoise_mask": None if start.denoise_mask is None else to_buffer(start.denoise_mask),
            "seed": start.seed,
        }
        for worker, indices in self._of_worker.items():
            self._told[worker] = {**common, "nodes": {}, "models": {}, "experts": []}
            for index in indices:
                expert = self._remote[index]
                levels = align_levels(start.sigmas, reference, forms.of(expert.model))
                self._told[worker]["nodes"] |= expert.part.nodes
                self._told[worker]["models"] |= expert.part.models
                self._told[worker]["experts"].append(
                    {"index": index, "place": expert.place, "links": expert.part.links, "levels": to_buffer(levels)}
                )
        self._wait([(self.tell(worker), lambda answer: None) for worker in self._of_worker])

    def answers(
        self,
        requests: list[Request],
        point_of: Callable[[ModelPatcher], ModelPoint],
        here: Callable[[list[Request]], dict[Request, Tensor]],
    ) -> dict[Request, Tensor]:
        """See `Workers`; the workers are at work while the networks here are."""
        local = [request for request in requests if not is_remote(self._experts[request.expert].model)]
        found: dict[Request, Tensor] = {}
        asked = []
        for worker, indices in self._of_worker.items():
            mine = [request for request in requests if request.expert in indices]
            if mine:
                asked.append(_Asked(self, worker, mine, point_of, found))
        calls = [(each.call(), each.take) for each in asked]
        try:
            if local:
                found |= here(local)
            self._wait(calls)
        except BaseException:
            self._cancel()
            raise
        return found

    def close(self) -> None:
        """Let the workers put the run away."""
        for worker, actor in self._actors.items():
            if worker in self._told:
                actor.finish.remote(self._name)

    def network_of(self, request: Request) -> ModelPatcher:
        """The MODEL that a request is to."""
        return self._experts[request.expert].model

    def call(self, worker: WorkerName, method: str, *args: Any) -> cluster.WorkerCall:
        """Call a method of a worker for this run."""
        return cluster.WorkerCall(worker, self._actors[worker], method, *args)

    def ask(self, worker: WorkerName, question: list[dict[str, Any]]) -> cluster.WorkerCall:
        """Ask a worker for predictions."""
        return self.call(worker, "predict", self._name, question)

    def tell(self, worker: WorkerName) -> cluster.WorkerCall:
        """Tell a worker of the run, which it doesn't know yet, or has forgotten."""
        send_files(partial(cluster.ask, worker, self._timeouts[worker]), self._files(worker))
        return self.call(worker, "begin", self._told[worker])

    def _files(self, worker: WorkerName) -> dict[str, Any]:
        parts = [self._remote[index].part for index in self._of_worker[worker]]
        return {name: path for part in parts for name, path in part.files.items()}

    def _wait(self, calls: Sequence[tuple[cluster.WorkerCall, cluster.Then]]) -> None:
        cluster.wait(calls, self._timeouts)

    def _cancel(self) -> None:
        for actor in self._actors.values():
            actor.cancel.remote(self._name)


class _Asked:
    """What one worker is asked in one call of the product.

    Args:
        run: The run.
        worker: Whom.
        requests: What.
        point_of: x and σ in a MODEL's own form.
        found: Takes the answers.
    """

    def __init__(
        self,
        run: WorkersOfRun,
        worker: WorkerName,
        requests: list[Request],
        point_of: Callable[[ModelPatcher], ModelPoint],
        found: dict[Request, Tensor],
    ):
        self._run = run
        self._worker = worker
        self._requests = requests
        self._found = found
        self._points = {run.network_of(request): point_of(run.network_of(request)) for request in requests}
        sent = {patcher: (to_buffer(x), float(sigma[0])) for patcher, (x, sigma) in self._points.items()}
        self._question = []
        for request in requests:
            x, sigma = sent[run.network_of(request)]
            self._question.append({"expert": request.expert, "role": request.role, "x": x, "sigma": sigma})

    def call(self) -> cluster.WorkerCall:
        """Ask."""
        return self._run.ask(self._worker, self._question)

    def take(self, answer: dict[str, Any]) -> cluster.WorkerCall | None:
        """Take the answer; or tell of the run anew, or ask once it is told."""
        if answer.get("unknown"):
            return self._run.tell(self._worker)
        if "predictions" not in answer:
            return self.call()
        for request, buffer in zip(self._requests, answer["predictions"], strict=True):
            x, _ = self._points[self._run.network_of(request)]
            self._found[request] = to_tensor(buffer, tuple(x.shape)).to(x)
        return None


def _network(expert: RemoteExpert) -> RemoteModel:
    network: RemoteModel = expert.model.model
    return network

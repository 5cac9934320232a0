"""A worker: one thread does ComfyUI's work, others take the calls from the cluster."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import torch

from . import files
from .model_files import check_model_files
from .prompt_part import upload_inputs
from .prompts import PromptRunner, check_part
from .served import Answering, describe_model, serve_run
from .versions import versions

logger = logging.getLogger(__name__)

Answer = dict[str, Any]


@dataclass(eq=False)
class _Task:
    """A task for ComfyUI's thread.

    Attributes:
        work: Function that does it; None for a prediction, which only the run that is being served can make.
        run: Name of the run, for a prediction.
        question: Requests of the run, for a prediction.
        answer: The answer to the call.
    """

    work: Callable[[], Answer] | None = None
    run: str = ""
    question: list[dict[str, Any]] = field(default_factory=list)
    answer: Future = field(default_factory=Future)


class Engine:
    """Serves one run at a time. Another run or prompt ends the service; the run's owner then has to begin it anew.

    Each method can be called by any thread, and answers with a dictionary.
    """

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._prompts = PromptRunner()
        self._run: str | None = None
        self._next: _Task | None = None
        threading.Thread(target=self._work, name="mcdm worker", daemon=True).start()

    def call(self, method: str, *args: Any) -> Answer:
        """The answer of one of the methods below; {"refused": sentence} on any error."""
        return _answered(lambda: getattr(self, method)(*args))

    def hello(self) -> Answer:
        """Versions and device of this worker."""
        device = comfy.model_management.get_torch_device()
        return {"versions": versions(), "device": f"{device}, {torch.get_num_threads()} threads"}

    def lacks(self, names: list[str]) -> Answer:
        """Names of the input files that have to be sent."""
        return {"lacks": files.lacking(names)}

    def store(self, name: str, content: bytes) -> Answer:
        """Keep an input file."""
        files.store(name, content)
        return {"stored": name}

    def uploads(self, kinds: list[str]) -> Answer:
        """For each type of node, its inputs that name input files."""
        return {"uploads": {kind: upload_inputs(kind) for kind in kinds}}

    def check(self, nodes: dict[str, Any], links: dict[str, list], models: dict[str, Any]) -> Answer:
        """Check, as ComfyUI does before it runs them, whether nodes can be run.

        Args:
            nodes: A part of a prompt.
            links: Links to "model", "condition" and "null", by these names.
            models: See `load`.
        """
        check_model_files(models)
        check_part(nodes, links)
        return {"checked": list(links)}

    def load(self, nodes: dict[str, Any], link: list, models: dict[str, Any]) -> Answer:
        """Load a MODEL, and describe it.

        Args:
            nodes: A part of a prompt.
            link: Link to the MODEL.
            models: Facts about its files, see `check_model_files`.
        """

        def work() -> Answer:
            check_model_files(models)
            return {"model": describe_model(self._prompts.outputs(nodes, [link], keep=True)[0])}

        return self._do(_Task(work))

    def begin(self, setup: dict[str, Any]) -> Answer:
        """Prepare a run.

        Args:
            setup: See `WorkersOfRun.begin`.
        """
        task = _Task()
        task.work = lambda: self._serve(setup, task)
        return self._do(task)

    def predict(self, run: str, question: list[dict[str, Any]]) -> Answer:
        """Predictions of x0; {"unknown": True} where the run isn't being served."""
        return self._do(_Task(None, run, question))

    def finish(self, run: str) -> Answer:
        """End a run, if it is being served."""
        return self._do(_Task(lambda: {"finished": run})) if self._run == run else {"finished": run}

    def cancel(self, run: str) -> Answer:
        """Interrupt a run's pass, at the next layer that checks for interruptions, or at the end of the pass."""
        if self._run == run:
            comfy.model_management.interrupt_current_processing()
        return {"cancelled": run}

    def _do(self, task: _Task) -> Answer:
        self._tasks.put(task)
        return task.answer.result()

    @torch.inference_mode()
    def _work(self) -> None:
        while True:
            task, self._next = self._next or self._tasks.get(), None
            if task.work is None:
                task.answer.set_result({"unknown": True})
                continue
            comfy.model_management.interrupt_current_processing(False)
            answer = _answered(task.work)
            if not task.answer.done():  # a run has answered when it began
                task.answer.set_result(answer)

    def _serve(self, setup: dict[str, Any], begun: _Task) -> Answer:
        check_model_files(setup["models"])
        links = [expert["links"] for expert in setup["experts"]]
        outputs = iter(self._prompts.outputs(setup["nodes"], [link for own in links for link in own.values()]))
        made = [{name: next(outputs) for name in own} for own in links]

        def serve(answer: Answering) -> None:
            self._run = setup["run"]
            begun.answer.set_result({"begun": self._run})
            self._answer_requests(answer)

        try:
            serve_run(setup, made, serve)
        finally:
            self._run = None
        return {}

    def _answer_requests(self, answer: Answering) -> None:
        """Answer requests until there is another task, or a pass fails."""
        while True:
            task = self._tasks.get()
            if task.work is not None or task.run != self._run:
                self._next = task
                return
            try:
                task.answer.set_result({"predictions": answer(task.question)})
            except comfy.model_management.InterruptProcessingException:
                task.answer.set_result({"interrupted": True})
                return
            except Exception as error:
                task.answer.set_result(_failure(error))
                return


def _answered(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Answer:
    if not isinstance(error, ValueError):
        logger.error("The worker failed.", exc_info=error)
    said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}; its log has more."
    return {"refused": " ".join(said.split())}

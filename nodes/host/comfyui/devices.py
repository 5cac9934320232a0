"""Several devices of one machine, at work at once in threads of ComfyUI's own engine.

Experts may each be on a device of their own. And a MODEL may have copies on further devices, among which core's
MultiGPU CFG Split distributes the rows of a pass: CFGGuider prepares the copies of its one MODEL, the first expert's;
those of each other expert serve only its own rows.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import comfy.model_management
import comfy.multigpu
import comfy.sampler_helpers
import torch
from comfy.model_patcher import ModelPatcher

from .cores import end_memory_graph

_KEY = "multigpu"  # ComfyUI's key of the copies among a MODEL's additional models
_POOL = "multigpu_thread_pool"  # and of the thread pool in its options

Answer = TypeVar("Answer")
Job = Callable[[Callable[[], None]], Answer]
"""Work on one device. Its argument is a function to call before each pass, which raises if the work should stop."""


def device_of(patcher: ModelPatcher) -> torch.device:
    """The device that a MODEL is loaded to."""
    return with_index(patcher.load_device)


def with_index(device: Any) -> torch.device:
    """A device with its index; "cuda" alone means the first, "cuda:0"."""
    device = torch.device(device)
    return torch.device(device.type, device.index or 0)


class Devices:
    """The devices of a run.

    Work on the reference's device is done in the thread of the run, work on each other device in a thread of its own.
    It is done one after the other where ComfyUI distributes an expert's rows among devices itself, since its threads
    would use the same devices.

    Args:
        patchers: The MODELs of the run, the reference's first.
    """

    def __init__(self, patchers: Sequence[ModelPatcher]):
        self._home, *others = dict.fromkeys(map(device_of, patchers))
        self._pool: Any = None
        if others and not any(map(copies_of, patchers)):
            self._pool = comfy.multigpu.MultiGPUThreadPool(others)

    def run(self, jobs: Mapping[torch.device, Job[Answer]]) -> list[Answer]:
        """Do work on several devices, and wait until all of it has ended, even if some fails.

        Args:
            jobs: The work for each device, by `device_of`.

        Returns:
            The results of the jobs, in their order.

        Raises:
            Exception: Whatever a job raises; if several do, the first in their order.
        """
        stop = threading.Event()
        attempts = {device: self._attempt(device, job, stop) for device, job in jobs.items()}
        elsewhere = [device for device in jobs if device != self._home] if self._pool is not None else []
        for device in elsewhere:
            self._pool.submit(device, attempts[device])
        outcomes = {device: attempt() for device, attempt in attempts.items() if device not in elsewhere}
        for device in elsewhere:
            outcome, error = self._pool.get_result(device)  # an error if the thread could not go to its device
            outcomes[device] = (None, error) if error is not None else outcome
        answers, errors = zip(*(outcomes[device] for device in jobs), strict=True) if jobs else ((), ())
        for error in errors:
            if error is not None and not isinstance(error, _StoppedError):
                raise error
        return list(answers)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            end_threads(self._pool)

    def _attempt(
        self, device: torch.device, job: Job[Answer], stop: threading.Event
    ) -> Callable[[], tuple[Answer | None, BaseException | None]]:
        """The job as a function for any thread: it runs as in this one, returns errors, and stops if another fails."""
        inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()  # torch keeps these per thread
        context = contextvars.copy_context()

        def check() -> None:
            if stop.is_set():
                raise _StoppedError
            comfy.model_management.throw_exception_if_processing_interrupted()  # in one thread: raising resets the flag

        def attempt() -> tuple[Answer | None, BaseException | None]:
            try:
                with (
                    comfy.model_management.cuda_device_context(device),
                    torch.inference_mode(inference),
                    torch.set_grad_enabled(grad),
                ):
                    return context.run(job, check), None
            except BaseException as error:
                stop.set()
                return None, error

        return attempt


class _StoppedError(Exception):
    """Work on another device has failed, so that this work is not needed."""


def copies_of(patcher: ModelPatcher) -> list[ModelPatcher]:
    """A MODEL's copies on further devices; most have none."""
    return patcher.get_additional_models_with_key(_KEY)


def end_threads(pool: Any) -> None:
    """End ComfyUI's threads for devices, after each has released the memory recorded for its passes.

    Args:
        pool: A `comfy.multigpu.MultiGPUThreadPool`; each of its threads runs its tasks in order.
    """
    for device in pool.devices:
        pool.submit(device, end_memory_graph)
    pool.shutdown()


@contextmanager
def copies_at_work(patcher: ModelPatcher, model_options: dict[str, Any]) -> Iterator[None]:
    """While it lasts, the copies of one MODEL are ready for a run, with a thread for each device.

    Args:
        patcher: The MODEL, loaded.
        model_options: Its options of the run, in which ComfyUI finds the copies.
    """
    copies = copies_of(patcher)
    with ExitStack() as ending:
        for copy in copies:
            ending.callback(copy.cleanup)
        if copies:
            comfy.sampler_helpers.prepare_model_patcher_multigpu_clones(patcher, copies, model_options)
            devices = [patcher.load_device, *(copy.load_device for copy in copies)]
            pool = model_options[_POOL] = comfy.multigpu.MultiGPUThreadPool(devices)
            ending.callback(end_threads, pool)
            for copy in copies:
                copy.pre_run()
        yield

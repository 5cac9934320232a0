"""Experts on several devices of one machine, asked at once, in threads of ComfyUI's own engine."""

from __future__ import annotations

import contextvars
import importlib.util
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher

from .device_copies import copies_of, end_threads

Answer = TypeVar("Answer")
Job = Callable[[Callable[[], None]], Answer]
"""Work on one device. It is given a function to call before each pass, which raises where there should be no more."""


def device_of(patcher: ModelPatcher) -> torch.device:
    """The device that a MODEL is loaded to."""
    return by_one_name(patcher.load_device)


def by_one_name(device: Any) -> torch.device:
    """A device with its number; the first of a kind goes by its kind alone as well."""
    device = torch.device(device)
    return torch.device(device.type, device.index or 0)


class Devices:
    """The devices of a run.

    What is done on the reference's is done in the thread of the run, and what is done on each other one in a thread of
    its own. One after the other where ComfyUI lacks the engine for it, or deals out an expert's rows to further devices
    itself: its threads would meet those of this.

    Args:
        patchers: The MODELs of the run, the reference's first.
    """

    def __init__(self, patchers: Sequence[ModelPatcher]):
        self._home, *others = dict.fromkeys(map(device_of, patchers))
        self._pool: Any = None
        if others and not any(map(copies_of, patchers)) and importlib.util.find_spec("comfy.multigpu") is not None:
            import comfy.multigpu  # not in older ComfyUI

            self._pool = comfy.multigpu.MultiGPUThreadPool(others)

    def run(self, jobs: Mapping[torch.device, Job[Answer]]) -> list[Answer]:
        """Do work on several devices, and wait until there is none left on any, also where some of it fails.

        Args:
            jobs: What to do on each, by `device_of`.

        Returns:
            What the jobs return, in their order.

        Raises:
            Exception: Whatever a job raises; the first in their order, where several do.
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
        """A job as it is done in any thread: as this one would, stopped where another fails, never raising."""
        modes = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        context = contextvars.copy_context()

        def check() -> None:
            if stop.is_set():
                raise _StoppedError
            comfy.model_management.throw_exception_if_processing_interrupted()  # once: whoever raises resets the flag

        def attempt() -> tuple[Answer | None, BaseException | None]:
            try:
                with _current(device), _in_modes(*modes):
                    return context.run(job, check), None
            except BaseException as error:
                stop.set()
                return None, error

        return attempt


class _StoppedError(Exception):
    """Work on another device has failed, so that this is not needed."""


@contextmanager
def _in_modes(inference: bool, grad: bool) -> Iterator[None]:
    """What torch keeps for each thread."""
    with torch.inference_mode(inference), torch.set_grad_enabled(grad):
        yield


def _current(device: torch.device) -> AbstractContextManager:
    """A device as the one that is meant where none is named, as far as ComfyUI does that."""
    context = getattr(comfy.model_management, "cuda_device_context", None)
    return nullcontext() if context is None else context(device)

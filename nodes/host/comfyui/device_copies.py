"""Copies of MODELs on further devices, among which core's MultiGPU CFG Split distributes the rows of a pass.

CFGGuider prepares the copies of its one MODEL, the first expert's. Each expert's copies serve only its own rows.
"""

from __future__ import annotations

from typing import Any

import comfy.multigpu
import comfy.sampler_helpers
from comfy.model_patcher import ModelPatcher

from .cores import end_memory_graph

_KEY = "multigpu"  # ComfyUI's key of the copies among a MODEL's additional models
_POOL = "multigpu_thread_pool"  # and of the thread pool in its options


def copies_of(patcher: ModelPatcher) -> list[ModelPatcher]:
    """A MODEL's copies on further devices; most have none."""
    return patcher.get_additional_models_with_key(_KEY)


def match_copies(patcher: ModelPatcher, conds: dict[str, list[dict]], model_options: dict[str, Any]) -> None:
    """Attach to a MODEL's copies what was attached to it since they were made; call it before it is loaded.

    Args:
        patcher: The MODEL.
        conds: Its conditioning; its ControlNets are copied too.
        model_options: Its prepared options.
    """
    if copies_of(patcher):
        patcher.match_multigpu_clones()
        comfy.sampler_helpers.preprocess_multigpu_conds(conds, patcher, model_options)


def end_threads(pool: Any) -> None:
    """End ComfyUI's threads for devices, after each has released the memory recorded for its passes.

    Args:
        pool: A `comfy.multigpu.MultiGPUThreadPool`; each of its threads runs its tasks in order.
    """
    for device in pool.devices:
        pool.submit(device, end_memory_graph)
    pool.shutdown()


class CopiesAtWork:
    """The copies of one MODEL during a run, and a thread for each device.

    Args:
        patcher: The MODEL, loaded.
        model_options: Its options of the run, in which ComfyUI finds the copies.
    """

    def __init__(self, patcher: ModelPatcher, model_options: dict[str, Any]):
        self._patcher = patcher
        self._options = model_options
        self._copies = copies_of(patcher)
        self._pool: Any = None

    def start(self) -> None:
        """Prepare the copies for the run; call `close` afterwards, even if this fails."""
        if self._copies:
            comfy.sampler_helpers.prepare_model_patcher_multigpu_clones(self._patcher, self._copies, self._options)
            devices = [self._patcher.load_device, *(copy.load_device for copy in self._copies)]
            self._pool = self._options[_POOL] = comfy.multigpu.MultiGPUThreadPool(devices)
            for copy in self._copies:
                copy.pre_run()

    def close(self) -> None:
        """End the threads and clean up."""
        if self._pool is not None:
            end_threads(self._pool)
        for copy in self._copies:
            copy.cleanup()

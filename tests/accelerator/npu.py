"""`torch.npu`: what torch and ComfyUI ask of a device's module. See `accelerator.install`, which registers it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .build import extension

_devices = extension()


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return True


def _is_in_bad_fork() -> bool:
    return False


def device_count() -> int:
    return _devices.device_count()


def current_device() -> int:
    return _devices.current_device()


def set_device(device: Any) -> None:
    _devices.set_current_device(_index(device))


class device:  # noqa: N801 # torch's name
    """Make a device the current one for a block."""

    def __init__(self, device: Any):
        self.inside = _index(device)

    def __enter__(self) -> None:
        self.outside = current_device()
        set_device(self.inside)

    def __exit__(self, *error: Any) -> None:
        set_device(self.outside)


def get_device_name(device: Any = None) -> str:
    return f"accelerator of the tests {_index(device)}"


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.float16, torch.bfloat16]


def synchronize(device: Any = None) -> None:
    _devices.count_synchronisation(_index(device), "synchronize")


def empty_cache() -> None:
    """Nothing: what is freed is free at once."""


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes that are free, and all."""
    memory = _devices.memory_of(_index(device))
    return memory.total - memory.in_use, memory.total


def memory_stats(device: Any = None) -> dict[str, int]:
    memory = _devices.memory_of(_index(device))
    stats = {}
    for kind in ("allocated_bytes", "active_bytes", "reserved_bytes"):
        stats |= {f"{kind}.all.current": memory.in_use, f"{kind}.all.peak": memory.peak}
    return stats


def manual_seed(seed: int) -> None:
    _devices.default_generator(current_device()).manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    for device in range(device_count()):
        _devices.default_generator(device).manual_seed(seed)


def get_rng_state(device: Any = None) -> Tensor:
    return _devices.default_generator(_index(device)).get_state()


def set_rng_state(new_state: Tensor, device: Any = None) -> None:
    _devices.default_generator(_index(device)).set_state(new_state)


def _index(device: Any) -> int:
    """The number of a device that is given as one, as its name or as its number; of none, the current one's."""
    if isinstance(device, str):
        device = torch.device(device)
    index = device.index if isinstance(device, torch.device) else device
    return current_device() if index is None else index

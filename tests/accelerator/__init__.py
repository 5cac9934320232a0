"""An accelerator that isn't there: devices named `npu` in the host's memory, strict and counted.

PyTorch leaves one device type to others, `PrivateUse1`. Under the name of Ascend's cards, which ComfyUI knows, it is
here a device that computes on the host, but refuses tensors of two devices as CUDA does, counts what a program asks of
it, and says how much of its memory is in use. What it can't tell: speed, the numerics of kernels, streams and races
between them, and how an allocator's memory falls into pieces.

    from tests import accelerator

    accelerator.install()  # once in a process, before ComfyUI is imported
    with accelerator.counted() as counts:
        (torch.ones(3, device="npu") * 2).sum().item()
    counts.operations, counts.synchronisations, counts.to_host.bytes, counts.peak

`build.py` compiles `source/` once, `npu.py` is `torch.npu`, `counts.py` what is counted. The sources are `counts`,
numbers and nothing of torch; `memory`, `generators` and `device`, what a device is; `kernels`, what no device can be
without; `fallback`, all other operations, and the rule which tensors may meet.
"""

import sys
from pathlib import Path
from types import ModuleType

from .build import NotBuiltError, extension
from .counts import Copies, Counts, bytes_in_use, counted, counts_of, set_hollow_from, set_relief, set_total_memory

__all__ = [
    "WITHIN",
    "Copies",
    "Counts",
    "NotBuiltError",
    "bytes_in_use",
    "counted",
    "counts_of",
    "install",
    "is_installed",
    "set_hollow_from",
    "set_relief",
    "set_total_memory",
]


WITHIN = Path(__file__).with_name("within.py")  # runs a script in a process that has the accelerator


def install(devices: int = 2) -> None:
    """Make torch know the devices `npu:0`, `npu:1`, …; this process has them from then on.

    Args:
        devices: How many; if they are there already, the number is changed.

    Raises:
        NotBuiltError: There is no compiler, or the extension doesn't build with this torch.
    """
    import torch

    extension().set_device_count(devices)
    if is_installed():
        return
    from . import npu

    torch.utils.rename_privateuse1_backend("npu")
    torch._register_device_module("npu", npu)
    torch.utils.generate_methods_for_privateuse1_backend()
    sys.modules["torch_npu"] = ModuleType("torch_npu")  # importing it is how ComfyUI asks for such cards


def is_installed() -> bool:
    """Whether this process has the devices."""
    return "torch_npu" in sys.modules

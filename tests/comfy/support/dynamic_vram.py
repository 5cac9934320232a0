"""ComfyUI's dynamic VRAM without NVIDIA: its own ModelPatcherDynamic and casts, over limited and counted memory.

Two things are replaced or bypassed: the allocator of comfy-aimdo, and pinned memory; on the CPU two more, the use of
the classic ModelPatcher on CPU devices and the branch of `cast_bias_weight` for them. Everything else is ComfyUI's. On
the accelerator of the tests, pages are memory of the device, and weights come into them from the host's.
"""

from __future__ import annotations

import array
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import comfy.cli_args
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import pytest
import torch
from torch import Tensor

HERE = comfy.model_management.get_torch_device()
RUBBISH = 0xFF  # in any of torch's float formats, these bytes are NaN
UNLIMITED = 1 << 62

# Lines of ComfyUI that exclude CPU devices, and their replacements.
_KEPT_OUT = 'if self.load_device == torch.device("cpu"):\n'
_LINES = {
    "__new__": {
        "if load_device is not None and comfy.model_management.is_device_cpu(load_device):": "if False:",
        "return super().__new__(cls)": "return object.__new__(cls)",
    },
    "_vbar_get": {_KEPT_OUT: "if False:\n"},
    "partially_unload": {'assert self.load_device != torch.device("cpu")\n': "\n"},
    "cast_bias_weight": {
        'if hasattr(s, "_v") and comfy.model_management.is_device_cpu(device):': "if False:",
        'elif hasattr(s, "_v") and s.weight.device != device:': 'elif hasattr(s, "_v"):',
    },
}


@dataclass
class DynamicVram:
    """The memory that the pages of all networks share, with counts of its use.

    Attributes:
        budget: Bytes of pages that may be in use at once; if it is changed, it holds from the next page on.
        loads: Number of calls of `ModelPatcherDynamic.load`.
        freed: Bytes of pages that were taken away.
        copied: Bytes of weights that were cast, into pages or, if there was no room for a page, beside them.
        elastic: Whether the device's memory is the limit, too; then no memory is kept of pages that are taken away.
    """

    budget: int = UNLIMITED
    elastic: bool = False
    loads: int = 0
    freed: int = 0
    copied: int = 0
    networks: list[Pages] = field(default_factory=list, repr=False)  # the last loaded one first
    signatures: Any = field(default_factory=lambda: count(1), repr=False)

    def reset(self) -> None:
        """Set all counts to 0, and the budget to unlimited."""
        self.budget, self.loads, self.freed, self.copied = UNLIMITED, 0, 0, 0

    @property
    def used(self) -> int:
        """Bytes of the pages in use."""
        return sum(pages.loaded_size() for pages in self.networks)

    def lacking(self, size: int, device: torch.device) -> int:
        """How many bytes have to be freed before a page of so many may be used."""
        over = self.used + size - self.budget
        return max(over, size - comfy.model_management.get_free_memory(device)) if self.elastic else over

    def relieve(self, size: int) -> None:
        """Take away pages of so many bytes, or all that aren't pinned; those of the last loaded network last."""
        for pages in reversed(self.networks):
            size -= pages.free_memory(size) if size > 0 else 0

    def free_all(self) -> int:
        """Take away all pages that are not pinned by a layer; returns their bytes."""
        return sum(pages.free_memory(UNLIMITED) for pages in self.networks)


@dataclass
class _Page:
    size: int
    memory: Tensor | None = None  # as its signature, None while it is not in use
    signature: int | None = None
    pins: int = 0


class Pages:
    """Stands in for `comfy_aimdo.model_vbar.ModelVBAR`: the pages of one network, one for each allocation.

    A page that was taken away comes back filled with NaN and with a new signature.
    """

    vram: DynamicVram  # set by `install`

    def __init__(self, size: int, device: int | None):
        self.device = HERE if HERE.type == "cpu" else torch.device(HERE.type, device)
        self.max_size, self.offset, self.pages = size, 0, dict[int, _Page]()
        self.vram.networks.append(self)

    def prioritize(self) -> None:
        self.vram.networks.remove(self)
        self.vram.networks.insert(0, self)

    def alloc(self, size: int) -> tuple[Pages, int, int]:
        if self.offset + size > self.max_size:
            raise MemoryError(f"Expected at most {self.max_size} bytes of pages and was asked for more.")
        place, self.offset = self.offset, self.offset + size
        self.pages[place] = _Page(size)
        return self, place, size

    def fault(self, place: int, size: int) -> array.array | None:
        page = self.pages[place]
        if page.signature is None:
            if not self._make_room(size):
                self.vram.copied += size
                return None
            with torch.inference_mode(False):  # so that passes in any mode may write into it
                page.memory = torch.full((size,), RUBBISH, dtype=torch.uint8, device=self.device)
            page.signature = next(self.vram.signatures)
        page.pins += 1
        return array.array("Q", [page.signature])

    def unpin(self, place: int, size: int) -> None:
        page = self.pages[place]
        page.pins = max(0, page.pins - 1)

    def loaded_size(self) -> int:
        return sum(page.size for page in self.pages.values() if page.signature is not None)

    def free_memory(self, size: float) -> int:
        freed = 0
        for page in reversed(self.pages.values()):
            if freed < size and page.signature is not None and not page.pins:
                self._spoil(page.memory)  # for who still has it
                page.memory = page.signature = None
                freed += page.size
        self.vram.freed += freed
        return freed

    def tensor(self, place: int) -> Tensor:
        self.vram.copied += self.pages[place].size
        return self.pages[place].memory

    def _spoil(self, memory: Tensor) -> None:
        if self.vram.elastic:
            memory.untyped_storage().resize_(0)
            return
        with torch.no_grad():
            memory.fill_(RUBBISH)

    def _make_room(self, size: int) -> bool:
        for other in reversed(self.vram.networks):
            lacks = self.vram.lacking(size, self.device)
            if lacks <= 0:
                return True
            if other is not self:
                other.free_memory(lacks)
        return self.vram.lacking(size, self.device) <= 0


class _HostBuffer:
    """Stands in for `comfy_aimdo.host_buffer.HostBuffer`, which gives no memory if none is pinned."""

    def __init__(self, size: int, *args: Any):
        self.size = size

    def truncate(self, size: int, do_unregister: bool = True) -> None:
        self.size = size


def install(monkeypatch: pytest.MonkeyPatch) -> DynamicVram:
    """Make every MODEL from now on a ModelPatcherDynamic, also on the CPU.

    Raises:
        RuntimeError: If ComfyUI no longer has the lines that this file replaces for the CPU.
    """
    import comfy_aimdo.host_buffer
    import comfy_aimdo.model_vbar
    import comfy_aimdo.torch

    patcher, vram = comfy.model_patcher.ModelPatcherDynamic, DynamicVram()
    monkeypatch.setattr(Pages, "vram", vram, raising=False)
    monkeypatch.setattr(comfy_aimdo.model_vbar, "ModelVBAR", Pages)
    monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", _HostBuffer)
    monkeypatch.setattr(comfy_aimdo.torch, "aimdo_to_tensor", lambda alloc, device: alloc[0].tensor(alloc[1]))
    monkeypatch.setattr(comfy.cli_args.args, "disable_pinned_memory", True)
    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", patcher)

    if HERE.type == "cpu":
        _let_cpus_in(monkeypatch)
    load = patcher.load

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        vram.loads += 1
        load(self, *args, **kwargs)

    monkeypatch.setattr(patcher, "load", counted)
    return vram


def _let_cpus_in(monkeypatch: pytest.MonkeyPatch) -> None:
    # The code is replaced, not the function, to which other modules have references.
    cast = comfy.ops.cast_bias_weight
    monkeypatch.setattr(cast, "__code__", _rewritten(cast).__code__)
    patcher = comfy.model_patcher.ModelPatcherDynamic
    for name in ("__new__", "_vbar_get", "partially_unload"):
        monkeypatch.setattr(patcher, name, _rewritten(getattr(patcher, name)))


def _rewritten(function: Callable) -> Callable:
    """The function as its source defines it, with the lines of `_LINES` replaced."""
    lines, first = inspect.getsourcelines(function)
    source = textwrap.dedent("".join(lines))
    for line, other in _LINES[function.__name__].items():
        if source.count(line) != 1:
            raise RuntimeError(
                f'Expected "{line.strip()}" once in {function.__qualname__} of this ComfyUI and found it '
                f"{source.count(line)} times; read what it does now, and mend tests/comfy/support/dynamic_vram.py."
            )
        source = source.replace(line, other)
    code = compile("\n" * (first - 1) + source, inspect.getsourcefile(function), "exec")
    found: dict[str, Callable] = {}
    exec(code, function.__globals__, found)  # noqa: S102 # ComfyUI's own source, in this process of tests alone
    return found[function.__name__]

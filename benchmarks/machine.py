"""The machine that is measured on: its memory's pages, and how a table names it."""

import os
import sys
from typing import Any

TUNABLES, HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"


def ask_for_huge_pages() -> None:
    """Start anew with glibc's huge pages: in small ones a network can take a fifth longer than its copy, by chance."""
    tunables = os.environ.get(TUNABLES, "")
    if sys.platform == "linux" and HUGE_PAGES not in tunables:
        changed = ":".join(filter(None, (tunables, f"{HUGE_PAGES}=1")))
        os.execve(sys.executable, sys.orig_argv, {**os.environ, TUNABLES: changed})


def machine(dtype: Any) -> str:
    """The device that ComfyUI chose, the cores, and the dtype of the networks."""
    import comfy.model_management
    import torch

    device = comfy.model_management.get_torch_device()
    name = comfy.model_management.get_torch_device_name(device)
    return f"{name}, {os.cpu_count()} CPU cores of which {torch.get_num_threads()} used, {dtype}"

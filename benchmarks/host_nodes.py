"""A node for the workers of `benchmarks.hosts`, whose ComfyUIs take it for one of a custom pack."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any


def _networks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_networks", Path(__file__).resolve().parent / "networks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BenchmarkNetwork:
    """What `networks.made` makes, as a node."""

    RETURN_TYPES = ("MODEL", "CONDITIONING", "CONDITIONING")
    FUNCTION = "make"
    CATEGORY = "benchmarks"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - as ComfyUI calls it
        """Its inputs, as ComfyUI asks for them."""
        return {"required": {"kind": ("STRING", {}), "seed": ("INT", {})}}

    def make(self, kind: str, seed: int) -> tuple[Any, list, list]:
        """A MODEL, its condition and its null."""
        made: tuple[Any, list, list] = _networks().made(kind, seed)
        return made


NODE_CLASS_MAPPINGS = {"BenchmarkNetwork": BenchmarkNetwork}

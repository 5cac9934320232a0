"""Every name of ComfyUI's that the pack uses exists in the ComfyUI at hand."""

from pathlib import Path

import pytest

from ..support.symbols import exists, symbols_of

ROOT = Path(__file__).resolve().parents[3]
FILES = [ROOT / "__init__.py", *sorted((ROOT / "nodes").rglob("*.py"))]

# Methods asked of `super()` that another base has, which the class is combined with later.
_DISCRETE, _FORM = "comfy.model_sampling.ModelSamplingDiscrete", "comfy.model_sampling.EPS"
ELSEWHERE = {f"{_DISCRETE}.{name}": f"{_FORM}.{name}" for name in ("noise_scaling", "calculate_denoised")}


@pytest.fixture(scope="module")
def used():
    """The names, and the files that use each."""
    found: dict[str, list[str]] = {}
    for file in FILES:
        for symbol in symbols_of(file.read_text(encoding="utf-8")):
            found.setdefault(symbol, []).append(file.relative_to(ROOT).as_posix())
    return found


def test_all_names_exist(pack, used):
    missing = {symbol: files for symbol, files in used.items() if not exists(ELSEWHERE.get(symbol, symbol))}
    assert not missing


def test_no_exception_is_left_that_nothing_uses(used):
    assert ELSEWHERE.keys() <= used.keys()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import comfy.samplers\ncomfy.samplers.CFGGuider", {"comfy.samplers.CFGGuider"}),
        ("import comfy.samplers as s\ns.CFGGuider.sample(1)", {"comfy.samplers.CFGGuider.sample"}),
        ("def f():\n    from comfy_api.latest import io\n    return io.Schema()", {"comfy_api.latest.io.Schema"}),
        ("import folder_paths\nfolder_paths.models_dir", {"folder_paths.models_dir"}),
        (
            "import comfy.samplers\nclass A(comfy.samplers.CFGGuider):\n    def f(self):\n        super().g()",
            {"comfy.samplers.CFGGuider.g"},
        ),
    ],
)
def test_names_are_found(source, expected):
    assert expected <= symbols_of(source)


@pytest.mark.parametrize("source", ["from .nodes import x\nx.y", "import torch\ntorch.comfy.x", "comfy = 1\ncomfy.x"])
def test_other_names_are_left_alone(source):
    assert not symbols_of(source)


@pytest.mark.parametrize("symbol", ["comfy.nowhere", "comfy.samplers.Nowhere", "comfy.samplers.CFGGuider.nowhere"])
def test_a_missing_name_is_seen(pack, symbol):
    assert not exists(symbol)


def test_most_of_what_the_guider_uses_is_among_them(used):
    """The walk reaches the pack's files at all."""
    for symbol in ("comfy.samplers.CFGGuider.outer_sample", "comfy.samplers.calc_cond_batch", "folder_paths"):
        assert symbol in used
    assert len(used) > 80

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


@pytest.mark.parametrize("symbol", ["comfy.nowhere", "comfy.samplers.Nowhere", "comfy.samplers.CFGGuider.nowhere"])
def test_a_missing_name_is_seen(pack, symbol):
    assert not exists(symbol)


def test_most_of_what_the_guider_uses_is_among_them(used):
    """The walk reaches the pack's files at all."""
    for symbol in ("comfy.samplers.CFGGuider.outer_sample", "comfy.samplers.calc_cond_batch", "folder_paths"):
        assert symbol in used
    assert len(used) > 80

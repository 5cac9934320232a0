"""An older ComfyUI than the pack supports is refused in one sentence, when it loads the pack."""

import importlib.util
from pathlib import Path

import pytest
import tomli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pack():
    """The entry of the pack, which needs no ComfyUI until it is called."""
    spec = importlib.util.spec_from_file_location("entry", ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", ["0.3.64", "0.4.0", "0.32.9", "0.32.9.dev1"])
def test_an_older_one_is_refused(pack, version):
    with pytest.raises(RuntimeError) as refused:
        pack.check_comfyui(version)
    assert str(refused.value) == (
        f"MCDM needs ComfyUI 0.33.0 or newer, and this is {version}; update ComfyUI and restart it."
    )


@pytest.mark.parametrize("version", ["0.33.0", "0.33.1", "0.34.0", "1.0.0"])
def test_any_other_is_taken(pack, version):
    pack.check_comfyui(version)


def test_the_oldest_is_the_one_that_the_registry_is_told(pack):
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["comfy"]["requires-comfyui"] == f">={pack.OLDEST_COMFYUI}"

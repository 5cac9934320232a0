"""ComfyUI's dynamic VRAM on a CPU, stood in for as the tests do."""

from typing import Any

from .comfyui import ROOT, imported

_FIXTURE = ROOT / "tests" / "comfy" / "support" / "dynamic_vram.py"


def stand_in_on_cards() -> None:
    """Let every MODEL that is made from now on be dynamic, in the memory of the tests' accelerator.

    As comfy-aimdo does it: pages fill what is free, and give way to what a pass allocates.

    Raises:
        RuntimeError: If this ComfyUI has other lines than the tests know.
    """
    from tests.accelerator import set_relief

    vram = _install()
    vram.elastic = True
    set_relief(lambda device, lacking: vram.relieve(lacking))


def stand_in(resident: float, network_bytes: int) -> None:
    """Let every MODEL that is made from now on be dynamic.

    Args:
        resident: Share of a network that memory has room for, in 0…1.
        network_bytes: Size of a network.

    Raises:
        RuntimeError: If this ComfyUI has other lines than the tests know.
        ModuleNotFoundError: If there is no pytest.
    """
    vram = _install()
    if resident < 1:
        vram.budget = int(resident * network_bytes)


def _install() -> Any:
    import pytest

    fixture = imported("mcdm_dynamic_vram", _FIXTURE)
    return fixture.install(pytest.MonkeyPatch())

"""ComfyUI's dynamic VRAM on a CPU, stood in for as the tests do."""

from .comfyui import ROOT, imported

_FIXTURE = ROOT / "tests" / "comfy" / "support" / "dynamic_vram.py"


def stand_in(resident: float, network_bytes: int) -> None:
    """Let every MODEL that is made from now on be dynamic.

    Args:
        resident: Share of a network that memory has room for, in 0…1.
        network_bytes: Size of a network.

    Raises:
        RuntimeError: If this ComfyUI has no dynamic VRAM, or another than the tests know.
        ModuleNotFoundError: If there is no pytest.
    """
    import pytest

    fixture = imported("mcdm_dynamic_vram", _FIXTURE)
    if not fixture.has_dynamic_vram:
        raise RuntimeError(f"{fixture.NO_DYNAMIC_VRAM}.")
    vram = fixture.install(pytest.MonkeyPatch())
    if resident < 1:
        vram.budget = int(resident * network_bytes)

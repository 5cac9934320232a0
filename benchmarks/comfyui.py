"""ComfyUI and this pack in the running process."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.comfyui import find_comfyui

ROOT = Path(__file__).resolve().parents[1]


def enter(cpu: bool) -> Callable[..., tuple]:
    """Import ComfyUI, and the pack as ComfyUI loads it.

    Args:
        cpu: Stay on the CPU where there is another device.

    Returns:
        A function that runs one of the pack's nodes by its id with keyword arguments and returns the outputs. A widget
        that isn't given has its default, as on the page.

    Raises:
        FileNotFoundError: If no ComfyUI is found.
        ModuleNotFoundError: If this Python lacks what ComfyUI imports.
    """
    comfyui = find_comfyui()
    if comfyui is None:
        raise FileNotFoundError(
            "Expected a ComfyUI in COMFYUI_PATH, around this folder or in ~/ComfyUI and found none; set COMFYUI_PATH."
        )
    # The repository's nodes/ would hide ComfyUI's module of that name.
    sys.path[:] = [str(comfyui), *(entry for entry in sys.path if Path(entry).resolve() != ROOT)]
    import torch
    from comfy.cli_args import args

    # ComfyUI takes a GPU for granted unless it is told.
    kinds = [torch.cuda, torch.backends.mps, torch.xpu, getattr(torch, "npu", torch.cuda)]
    args.cpu = cpu or not any(kind.is_available() for kind in kinds)
    pack = imported("mcdm_pack", ROOT / "__init__.py", [str(ROOT)])
    extension = asyncio.run(pack.comfy_entrypoint())
    classes = {cls.define_schema().node_id: cls for cls in asyncio.run(extension.get_node_list())}

    def node(node_id: str, **inputs: Any) -> tuple:
        widgets = {widget.id: getattr(widget, "default", None) for widget in classes[node_id].define_schema().inputs}
        given = {name: default for name, default in widgets.items() if default is not None} | inputs
        return classes[node_id].execute(**given).args

    return node


def imported(name: str, path: Path, folders: list[str] | None = None) -> Any:
    """Import a file under a name, for what is not on the path.

    Args:
        name: Name of the module.
        path: Its file.
        folders: Where its submodules are, if it is a package.
    """
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""ComfyUI entry point. Importing this file imports nothing else, so that `mcdm_core` and its tests need no ComfyUI."""

import importlib
import logging
import re

WEB_DIRECTORY = "./web"
OLDEST_COMFYUI = "0.33.0"  # as requires-comfyui in pyproject.toml

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> object:
    """Called by ComfyUI while it loads custom nodes; returns the extension with all nodes.

    Raises:
        RuntimeError: ComfyUI is too old.
    """
    check_comfyui(importlib.import_module("comfyui_version").__version__)
    try:
        from .nodes import McdmExtension
    except Exception:
        # ComfyUI reports only the message of what goes wrong here.
        logging.getLogger(__name__).exception("The MCDM nodes could not be imported.")
        raise
    return McdmExtension()


def check_comfyui(version: str) -> None:
    """Refuse a version of ComfyUI that lacks what the nodes need.

    Raises:
        RuntimeError: It is older than `OLDEST_COMFYUI`.
    """
    if _numbers(version) < _numbers(OLDEST_COMFYUI):
        raise RuntimeError(
            f"MCDM needs ComfyUI {OLDEST_COMFYUI} or newer, and this is {version}; update ComfyUI and restart it."
        )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]

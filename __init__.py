"""ComfyUI entry point. Importing this file imports nothing else, so that `mcdm_core` and its tests need no ComfyUI."""

import logging

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> object:
    """Called by ComfyUI while it loads custom nodes; returns the extension with all nodes."""
    try:
        from .nodes import McdmExtension
    except Exception:
        # ComfyUI reports only the message of what goes wrong here.
        logging.getLogger(__name__).exception("The MCDM nodes could not be imported.")
        raise
    return McdmExtension()

"""Opens held-out pictures by their kind."""

from collections.abc import Callable

from .color_pairs import ColorPairs
from .config import DataConfig
from .faces import Faces
from .folder import Folder
from .held_out import HeldOut
from .scenes import Scenes

_KINDS: dict[str, Callable[[DataConfig], HeldOut]] = {
    "faces": Faces,
    "color pairs": ColorPairs,
    "scenes": Scenes,
    "folder": Folder,
}
_opened: dict[str, HeldOut] = {}


def open_held_out(config: DataConfig) -> HeldOut:
    """Draw or read the pictures; once per process, since every batch and every row uses them.

    Raises:
        ValueError: The kind is unknown, or the pictures cannot be drawn or read.
    """
    if config.kind not in _KINDS:
        raise ValueError(f"Expected data of kind {', '.join(_KINDS)} and got {config.kind!r}; correct the name.")
    key = repr(config)
    if key not in _opened:
        _opened.clear()  # a process may draw for many evaluations in sequence
        _opened[key] = _KINDS[config.kind](config)
    return _opened[key]

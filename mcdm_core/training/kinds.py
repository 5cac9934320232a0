"""The kinds of data that experts and dual encoders are trained on, by name."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that naming a kind imports nothing that trains
    from .data.kind import DataKind

Kinds = Mapping[str, Callable[[], "DataKind"]]
"""Name of a kind, `kind` of a `[data]` section → its constructor."""


def _folder() -> "DataKind":
    from .folder.kind import FolderKind

    return FolderKind()


KINDS: Kinds = {"folder": _folder}
"""The core's own kinds."""

DRAWN = ("mixture", "faces", "landscapes", "animals", "product")
"""Additional kinds of `python -m studies train`."""


def kind_named(name: str, kinds: Kinds) -> "DataKind":
    """The kind of this name.

    Raises:
        ValueError: There is none.
    """
    if name in kinds:
        return kinds[name]()
    *others, last = map(repr, kinds)
    known = f"{', '.join(others)} or {last}" if others else last
    if name in DRAWN:
        raise ValueError(
            f"Expected data of kind {known} and got {name!r}, which is drawn; run `python -m studies train` in a clone "
            "of the repository."
        )
    raise ValueError(f"Expected data of kind {known} and got {name!r}; correct the name.")

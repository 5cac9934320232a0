"""The kinds of data that experts and dual encoders are trained on, by name; others register theirs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that registering a kind imports nothing that trains
    from .data_kind import DataKind


def _folder() -> "DataKind":
    from .folder_kind import FolderKind

    return FolderKind()


_KINDS: dict[str, Callable[[], "DataKind"]] = {"folder": _folder}


def register_kind(name: str, load: Callable[[], "DataKind"]) -> None:
    """Make a kind of data known, in place of any other of its name.

    Args:
        name: What `kind` of a `[data]` section calls it.
        load: Makes it. Imports that it needs belong in there: they are made when a configuration names it.
    """
    _KINDS[name] = load


def kind_named(name: str) -> "DataKind":
    """The kind of a name.

    Raises:
        ValueError: There is none.
    """
    if name not in _KINDS:
        *others, last = map(repr, _KINDS)
        known = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"Expected data of kind {known} and got {name!r}; correct the name.")
    return _KINDS[name]()

"""Checks values from files against the fields of a dataclass: their types, and their ranges from `Annotated`."""

import math
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included."""

    low: float
    high: float = math.inf

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"of {self.low:,} or more" if self.high == math.inf else f"from {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Length:
    """Bounds of the length of a list or a text, both included."""

    low: int
    high: int

    def __contains__(self, value: Any) -> bool:
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        return f"of length {self.low:,} to {self.high:,}"


class OneLine:
    """Bounds of a text that can be part of a message: no line ends or other unprintable characters."""

    def __contains__(self, value: Any) -> bool:
        return value.isprintable()

    def __str__(self) -> str:
        return "in one line"


Width = Annotated[int, Between(1, 65_536)]
PictureSize = Annotated[int, Between(1, 1024)]
Word = Annotated[str, Length(1, 64), OneLine()]
Line = Annotated[str, Length(1, 200), OneLine()]

EXPORT_AGAIN = "export the expert again"
"""Advice for a wrong field of an expert's file."""

_NAMES: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    bool: ("true or false", "true or false"),
    dict: ("a table", "tables"),
    tuple: ("a list", "lists"),
    Path: ("a path", "paths"),
}
"""Type → its name in messages, singular and plural."""


def find_misfit(kind: type, values: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first value that is not of its field's type and range, None if all are.

    Whole numbers are valid for floats; true, false and infinity are no numbers; lists are valid for tuples. Names
    without a field are ignored.

    Args:
        kind: The dataclass.
        values: Values of some of its fields, by name.

    Returns:
        The field's name; its declaration, as it reads after "expected" or "should be"; and the value, as messages show
        it.
    """
    hints = _hints(kind)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            return name, _described(hints[name]), shown(value)
    return None


def check_fields(kind: type, values: object, owner: str) -> None:
    """Check that a description has values for the fields of a dataclass, each as declared, see `find_misfit`.

    Args:
        kind: The dataclass.
        values: Values by the names of fields; those of fields without a default are required.
        owner: Owner of the fields, for messages: "the network".

    Raises:
        ValueError: One is missing, unknown or not as declared; a sentence that names it.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{owner} should be a table and is {shown(values)}; {EXPORT_AGAIN}.")
    hints = _hints(kind)
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    wrong = [name for name in needed if name not in values] or [name for name in values if name not in hints]
    if wrong:
        listed = ", ".join(map(shown, wrong[:5]))
        raise ValueError(f"a field of {owner} is missing or unknown ({listed}); {EXPORT_AGAIN}.")
    if misfit := find_misfit(kind, values):
        name, expected, got = misfit
        raise ValueError(f"{name} of {owner} should be {expected} and is {got}; {EXPORT_AGAIN}.")


def shown(value: object) -> str:
    """A value as messages show it, shortened to one line."""
    if isinstance(value, list | dict | tuple) and len(value) > _SHOWN:
        return f"{'a table' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    text = repr(value) if isinstance(value, float | int | bool | None) or str(value).isprintable() else ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def printable(value: object) -> str:
    """A value's text, escaped where it has line ends or a terminal's commands."""
    text = str(value)
    return text if text.isprintable() else ascii(text)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, arguments[0]) and all(value in bounds for bounds in arguments[1:])
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, arguments[1]) for item in value.values())
    if isinstance(value, bool):
        return hint is bool
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        return False  # NaN, infinity, or too large for a float
    return isinstance(value, int | float if hint is float else hint)


def _described(hint: Any, several: bool = False, bounds: tuple[Any, ...] = ()) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _described(arguments[0], several, arguments[1:])
    if origin in (Union, types.UnionType):
        # The message leaves None out: TOML has no such value, a field is left out instead.
        return " or ".join(_described(each, several) for each in arguments if each is not types.NoneType)
    name = " ".join([_NAMES.get(origin or hint, ("a section", "sections"))[several], *map(str, bounds)])
    item = {tuple: 0, dict: 1}.get(origin)
    return name if item is None or arguments[item] is Any else f"{name} of {_described(arguments[item], several=True)}"

"""What the fields of a description may be: types and ranges, declared where the fields are and checked here.

A dataclass says of each field what it may be by `Annotated`; `check_fields` compares values that came out of a file.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included."""

    low: float
    high: float

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Length:
    """Bounds of the length of a list or a text, both included."""

    low: int
    high: int

    def __contains__(self, value: Any) -> bool:
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        return f"of length {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class OneOf:
    """Texts to choose among."""

    choices: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.choices

    def __str__(self) -> str:
        return f"among {', '.join(self.choices)}"


Width = Annotated[int, Between(1, 65_536)]
Line = Annotated[str, Length(1, 200)]

EXPORT_AGAIN = "export the expert again"
"""What to do about a field of an expert's file."""

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}


def check_fields(kind: type, values: object, owner: str, remedy: str = EXPORT_AGAIN) -> None:
    """Check that values are there for the fields of a dataclass, and each of its type and in its range.

    A whole number is a number, true and false are not; lists may stand for tuples; texts are one line.

    Args:
        kind: The dataclass.
        values: Values by the names of fields, all those without a default among them.
        owner: Whose fields they are, for messages: "the network".
        remedy: What to do about one that cannot be, for messages.

    Raises:
        ValueError: One is missing, unknown or not as declared; a sentence that names it.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{owner} should be an object and is {shown(values)}; {remedy}.")
    hints = _hints(kind)
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    wrong = [name for name in needed if name not in values] or [name for name in values if name not in hints]
    if wrong:
        raise ValueError(f"a field of {owner} is missing or unknown ({', '.join(map(shown, wrong[:5]))}); {remedy}.")
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} of {owner} should be {_described(hints[name])} and is {shown(value)}; {remedy}.")


def known_fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a dataclass has fields for."""
    return {name: value for name, value in values.items() if name in _hints(kind)}


def shown(value: object) -> str:
    """A value as messages show it: one line, of a length that can be read."""
    if isinstance(value, list | dict | tuple) and len(value) > _SHOWN:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    text = repr(value) if isinstance(value, float | int | bool | None) or str(value).isprintable() else ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, arguments[0]) and all(value in bounds for bounds in arguments[1:])
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, hint) and (hint is not str or value.isprintable())


def _described(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([_described(arguments[0]), *map(str, arguments[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join(_described(argument) for argument in arguments)
    if origin is tuple:
        return f"a list (each item {_described(arguments[0])})"
    return "null" if hint is type(None) else _NAMES[hint]

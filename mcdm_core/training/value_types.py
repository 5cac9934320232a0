"""Checks values read from TOML against the types and the ranges a dataclass declares."""

import math
import sys
import types
from dataclasses import field, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

_NAMES = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    dict: ("a table", "tables"),
}
"""What a type is called in messages: one of it, and several."""


def within(default: Any, least: float, most: float = math.inf) -> Any:
    """A dataclass's field of numbers from `least` to `most`, which `check_ranges` holds it to."""
    return field(default=default, metadata={"range": (least, most)})


def check_ranges(kind: type, values: dict[str, Any], where: str) -> None:
    """Check that each number is in the range of the field it is for.

    Args:
        kind: The dataclass.
        values: Values of some of its fields, of their types.
        where: What messages call the section.

    Raises:
        ValueError: A number is out of range, infinite, NaN or too large for a float.
    """
    for each in fields(kind):
        value = values.get(each.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least, most = each.metadata.get("range", (-math.inf, math.inf))
        if not abs(value) <= sys.float_info.max or not least <= value <= most:
            wanted = "a finite number" if math.isinf(least) else f"{least} or more"
            wanted = wanted if math.isinf(most) else f"a number from {least} to {most}"
            raise ValueError(f"{where}: expected {wanted} for {each.name} and got {value!r}; correct it.")


def check_types(kind: type, values: dict[str, Any], where: str) -> None:
    """Check that each value has the type of the field it is for.

    A whole number is a number, true and false are not; lists may stand for tuples. Names without a field are passed
    over.

    Args:
        kind: The dataclass.
        values: Values of some of its fields.
        where: What messages call the section.

    Raises:
        ValueError: A value has another type.
    """
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            raise ValueError(f"{where}: expected {_described(hints[name])} for {name} and got {value!r}; correct it.")


def _fits(value: object, hint: Any) -> bool:
    if hint is Any:
        return True
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, arguments[1]) for item in value.values())
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _described(hint: Any, several: bool = False) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _described(arguments[0], several)  # TOML has no null: whoever wants none leaves the name out
    if origin is tuple:
        return f"{'lists' if several else 'a list'} of {_described(arguments[0], several=True)}"
    if origin is dict and arguments[1] is not Any:
        return f"{'tables' if several else 'a table'} of {_described(arguments[1], several=True)}"
    return _NAMES.get(origin or hint, ("a section", "sections"))[several]

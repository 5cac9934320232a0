"""Values are compared with what a dataclass declares of its fields."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from mcdm_core.system.fields import Between, Length, Line, check_fields, find_misfit


@dataclass(frozen=True)
class Declared:
    count: Annotated[int, Between(1, 4000)]
    rate: float = 0.0
    share: Annotated[float, Between(0)] = 0.0
    flag: bool = False
    title: str = ""
    name: Line = "a"
    size: Annotated[int, Between(1)] | None = None
    widths: Annotated[tuple[Annotated[int, Between(1, 8)], ...], Length(1, 2)] = (1,)
    tables: dict[str, dict[str, Any]] | None = None
    card: dict | None = None


@pytest.mark.parametrize(
    "values",
    [
        {"count": 1, "rate": 3, "share": 10**9, "title": "two\nlines", "name": "one line", "size": None},
        {"widths": [1, 8], "tables": {"a": {"b": math.nan}}, "card": {"a": object()}, "unknown": 3},
    ],
)
def test_values_as_declared(values):
    assert find_misfit(Declared, values) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", 4001, "a whole number from 1 to 4,000"),
        ("count", True, "a whole number from 1 to 4,000"),
        ("count", 1.0, "a whole number from 1 to 4,000"),
        ("rate", math.nan, "a finite number"),
        ("rate", "1", "a finite number"),
        ("share", -0.5, "a finite number of 0 or more"),
        ("share", math.inf, "a finite number of 0 or more"),
        ("flag", 1, "true or false"),
        ("title", None, "a text"),
        ("name", "two\nlines", "a text of length 1 to 200 in one line"),
        ("name", "", "a text of length 1 to 200 in one line"),
        ("size", 0, "a whole number of 1 or more"),
        ("widths", [], "a list of length 1 to 2 of whole numbers from 1 to 8"),
        ("widths", [9], "a list of length 1 to 2 of whole numbers from 1 to 8"),
        ("widths", 1, "a list of length 1 to 2 of whole numbers from 1 to 8"),
        ("tables", {"a": 3}, "a table of tables"),
        ("card", [], "a table"),
    ],
)
def test_a_misfit_is_described(name, value, expected):
    assert find_misfit(Declared, {"count": 1, name: value}) == (name, expected, repr(value))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"^it should be a table and is \[\]; export"),
        ({}, r"^a field of it is missing or unknown \('count'\); export"),
        ({"count": 1, "counts": 2}, r"^a field of it is missing or unknown \('counts'\); export"),
        ({"count": 0}, "^count of it should be a whole number from 1 to 4,000 and is 0; export"),
    ],
)
def test_descriptions_are_complete_and_as_declared(values, message):
    with pytest.raises(ValueError, match=message):
        check_fields(Declared, values, "it")

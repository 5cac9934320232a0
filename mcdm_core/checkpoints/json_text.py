"""Safe parsing of JSON that may be hostile."""

import json
from collections import Counter
from typing import Any

from ..system.fields import shown

_BRACKETS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))


def parse_json(text: str, deepest: int) -> Any:
    """Values of a JSON text.

    Args:
        text: The text.
        deepest: Most levels of nested lists and objects that are allowed.

    Raises:
        ValueError: It is no JSON, is nested deeper, or an object has a name twice; the message is the predicate of a
            sentence about the text.
    """
    depth = _depth(text.encode("utf-8", "surrogatepass"))
    if depth > deepest:
        raise ValueError(f"is nested {depth:,} levels deep")
    try:
        values = json.loads(text, object_pairs_hook=_without_doubles)
    except _DoubleNameError:
        raise
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    return values


class _DoubleNameError(ValueError):
    """An object has a name twice."""


def _depth(text: bytes) -> int:
    """Deepest nesting of brackets, ignoring brackets within strings."""
    depth = deepest = 0
    outside = text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    for bracket in b"".join(outside).translate(None, delete=_OTHERS):
        depth += _BRACKETS[bracket]
        deepest = max(deepest, depth)
    return deepest


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        double, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _DoubleNameError(f"has {shown(double)} twice")
    return values

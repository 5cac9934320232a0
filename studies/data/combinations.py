"""Which values of several attributes are asked for together."""

from collections.abc import Mapping, Sequence
from itertools import product

from .faces import ATTRIBUTES


def combinations(leading: Mapping[str, str], asked: Sequence[Sequence[str]] = ()) -> list[dict[str, str]]:
    """Combinations of the values of attributes of faces.

    Args:
        leading: Attribute → the value that is not asked for.
        asked: Combinations that are asked for instead, leading values or not, each in the order of `leading`.

    Returns:
        Attribute → value, for each combination; without `asked` all of values that do not lead.

    Raises:
        ValueError: There is no such attribute or value.
    """
    if strangers := sorted(name for name in leading if leading[name] not in ATTRIBUTES.get(name, ())):
        raise ValueError(
            f"Expected attributes of faces and a value of each as leading, and {strangers[0]} is none or has no such "
            "value; correct it."
        )
    known = [ATTRIBUTES[name] for name in leading]
    for each in asked:
        if len(each) != len(known) or any(value not in values for value, values in zip(each, known, strict=True)):
            raise ValueError(
                f"Expected combinations of {', '.join(leading)} as asked and got {tuple(each)}; correct it."
            )
    others = ([value for value in ATTRIBUTES[name] if value != lead] for name, lead in leading.items())
    return [dict(zip(leading, values, strict=True)) for values in asked or product(*others)]

"""Keys that identify the meaning of an encoder's conditions, and so decide which experts a condition fits."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

Value = tuple[str, ...] | float | str
"""Names, whose order matters, a number, or a fingerprint."""

_LISTED = 5  # names in a message


@dataclass(frozen=True)
class EncoderKey:
    """Equal for encoders whose conditions mean the same to a network.

    Attributes:
        driven_by: `Encoder.driven_by`, for messages; it is ignored in comparisons.
        content: Content of the conditions as pairs of a name for people and a value: ("maps", ("hair",)), say.
    """

    driven_by: str = field(compare=False)
    content: tuple[tuple[str, Value], ...]

    def describe(self, other: "EncoderKey") -> str:
        """`driven_by` of another key; where this one has the same, with a difference between the two."""
        if other.driven_by != self.driven_by or other == self:
            return other.driven_by
        mine, theirs = dict(self.content), dict(other.content)
        changed = next((name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)), "content")
        return f"{other.driven_by}, with {_difference(changed, mine.get(changed), theirs.get(changed))}"


def _difference(name: str, mine: Value | None, theirs: Value | None) -> str:
    """How the second value differs from the first."""
    match mine, theirs:
        case (float(), float()):
            return f"{name} {theirs:g} instead of {mine:g}"
        case (tuple(), tuple()):
            new = [value for value in theirs if value not in mine]
            listed = ", ".join(new[:_LISTED]) + (", …" if len(new) > _LISTED else "")
            if new:
                return f"other {name} ({listed})"
            return f"fewer {name}" if len(theirs) < len(mine) else f"its {name} in another order"
        case _:
            return f"another {name}"


def fingerprint(config: Mapping, tensors: Mapping[str, Tensor]) -> str:
    """Hash of a network's configuration and weights, in hexadecimal.

    Weights are rounded to half precision first, as in files: a network has one fingerprint in every precision.

    Args:
        config: Plain values, fit for JSON.
        tensors: Weights by name, of any device and floating dtype.
    """
    digest = hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().half().cpu().numpy().tobytes())
    return digest.hexdigest()

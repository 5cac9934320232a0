"""What the conditions of an encoder hold and mean. By this a condition fits an expert or not, never by words."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

Value = tuple[str, ...] | float | str
"""Names in an order that counts, a number, or a fingerprint."""

_LISTED = 5  # names in a message


@dataclass(frozen=True)
class EncoderKey:
    """Equal for encoders whose conditions mean the same to a network, whatever is said of them.

    Attributes:
        driven_by: `Encoder.driven_by`, for messages; it takes no part in comparisons.
        content: What the conditions hold, each a name for people and a value: ("maps", ("hair",)), say.
    """

    driven_by: str = field(compare=False)
    content: tuple[tuple[str, Value], ...]

    def describe(self, other: "EncoderKey") -> str:
        """What drives an expert of another key, told from this one's where people say the same of both."""
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
    """Stands for a network's configuration and weights, in hexadecimal.

    Weights are rounded to half precision first, in which files keep them: the same network has one fingerprint,
    whatever precision it comes in.

    Args:
        config: Plain values, fit for JSON.
        tensors: Weights by name, of any device and floating dtype.
    """
    digest = hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().half().cpu().numpy().tobytes())
    return digest.hexdigest()

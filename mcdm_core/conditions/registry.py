"""The kinds of condition, by the name that an expert's file has for them.

A new kind is a subclass of `Encoder` in a file of its own, with `register` above it; `conditions/__init__.py` imports
it. Nothing else lists the kinds.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from ..networks import ClipTextTower
from .description import Description
from .encoder import Encoder

Kind = TypeVar("Kind", bound=type[Encoder])

_KINDS: dict[str, type[Encoder]] = {Encoder.kind: Encoder}


def register(encoder: Kind) -> Kind:
    """Make a class the encoder of its `kind`."""
    _KINDS[encoder.kind] = encoder
    return encoder


def encoder_of_kind(condition_spec: Mapping[str, Any]) -> type[Encoder]:
    """The class of encoders that a description asks for.

    Raises:
        ValueError: If it names no kind, or one that is not registered.
    """
    try:
        kind = str(condition_spec["kind"])
    except (KeyError, TypeError) as error:
        raise _incomplete(error) from None
    if kind not in _KINDS:
        *first, last = _KINDS
        raise ValueError(
            f'This expert is driven by "{kind}", but this version knows only {", ".join(first)} and {last}; update the '
            "pack."
        )
    return _KINDS[kind]


def build_encoder(
    condition_spec: Mapping[str, Any],
    image_size: int,
    channels: int,
    state: Mapping[str, Tensor] | None = None,
    load_text: Callable[[], ClipTextTower] | None = None,
    downscale: int = 1,
) -> Encoder:
    """Build the encoder of an expert.

    Args:
        condition_spec: What drives the expert, as its file has it: {"kind": "map", "map": "hair"}, say. Each encoder's
            `build` says what belongs to its kind.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        state: Tensors that the encoder works with: those of the text tower or transformer, or the class embeddings.
        load_text: Loads FaRL's text tower when the face network's encoder first needs it.
        downscale: Pixels to a side of the expert's samples, see `Encoder`.

    Returns:
        The encoder, ready to use.

    Raises:
        ValueError: If the description is incomplete or of an unknown kind, or the text tower's tensors don't fit it.
    """
    kind = encoder_of_kind(condition_spec)
    try:
        encoder = kind.build(Description(condition_spec, image_size, channels, state or {}, load_text))
    except (KeyError, TypeError) as error:
        raise _incomplete(error) from None
    encoder.downscale = downscale  # of the expert's samples, whatever kind of condition drives it
    return encoder


def _incomplete(error: Exception) -> ValueError:
    return ValueError(
        f"The expert's description of its condition is incomplete or has an unknown entry ({error}); export the expert "
        "again."
    )

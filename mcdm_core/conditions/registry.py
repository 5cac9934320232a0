"""The kinds of condition, by their name in expert files.

A new kind is a subclass of `Encoder` in a file of its own, decorated with `register`; `conditions/__init__.py` imports
it. Nothing else lists the kinds.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from torch import Tensor

from ..networks import ClipTextTower, UNetConfig
from ..system.fields import check_fields, shown
from .description import ANY, Description
from .encoder import Encoder

Kind = TypeVar("Kind", bound=type[Encoder])

_KINDS: dict[str, type[Encoder]] = {Encoder.kind: Encoder}


def register(encoder: Kind) -> Kind:
    """Make a class the encoder of its `kind`."""
    _KINDS[encoder.kind] = encoder
    return encoder


def encoder_of_kind(condition_spec: Mapping[str, Any]) -> type[Encoder]:
    """The class of encoders that a description names.

    Raises:
        ValueError: If it names no kind, or one that is not registered.
    """
    try:
        kind = condition_spec["kind"]
    except (KeyError, TypeError) as error:
        raise _incomplete(error) from None
    if not isinstance(kind, str) or kind not in _KINDS:
        *first, last = _KINDS
        raise ValueError(
            f"This expert is driven by {_quoted(kind)}, but this version knows only {', '.join(first)} and {last}; "
            "update the pack."
        )
    return _KINDS[kind]


_UNREAD = {"num_classes": None, "low_res_channels": 0, "context_dim": None}
"""Fields of a network whose kind of condition does not set them; others would need inputs that nobody can give."""


def check_condition(condition_spec: Mapping[str, Any], network: UNetConfig, downscale: int) -> None:
    """Check the entries of a description, and that the network reads the conditions described.

    Args:
        condition_spec: See `build_encoder`.
        network: The network that the conditions are for.
        downscale: See `Encoder`.

    Raises:
        ValueError: An entry is missing or not what it should be, or the network reads something else; the message names
            it.
    """
    kind = encoder_of_kind(condition_spec)
    known = {field.name for field in fields(kind.fields)}
    check_fields(kind.fields, {name: entry for name, entry in condition_spec.items() if name in known}, "the condition")
    for name, value in {**_UNREAD, **kind.network_fields(condition_spec, downscale)}.items():
        if getattr(network, name) != value and value is not ANY:
            raise ValueError(
                f"{name} of the network should be {shown(value)} for its condition ({kind.kind}) and is "
                f"{shown(getattr(network, name))}; export the expert again."
            )
        if value is ANY and getattr(network, name) is None:
            raise ValueError(
                f"{name} of the network should be there for its condition ({kind.kind}); export the expert again."
            )


def _quoted(kind: object) -> str:
    return f'"{kind}"' if isinstance(kind, str) and len(kind) < 40 and kind.isprintable() else shown(kind)


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
        condition_spec: Description of the condition in the expert's file: {"kind": "map", "map": "hair"}, say. Each
            encoder's `build` lists the entries of its kind.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        state: The encoder's tensors: those of the text tower or transformer, or the class embeddings.
        load_text: Loads FaRL's text tower when the face network's encoder first needs it.
        downscale: See `Encoder`.

    Returns:
        The encoder, ready to use.

    Raises:
        ValueError: If the description is incomplete or of an unknown kind, or the text tower's tensors don't fit it.
    """
    kind = encoder_of_kind(condition_spec)
    try:
        encoder = kind.build(Description(condition_spec, image_size, state or {}, load_text))
    except (KeyError, TypeError) as error:
        raise _incomplete(error) from None
    # Of the expert's samples, whatever kind of condition drives it.
    encoder.channels, encoder.downscale = channels, downscale
    return encoder


def _incomplete(error: Exception) -> ValueError:
    return ValueError(
        f"The expert's description of its condition is incomplete or has an unknown entry ({error}); export the expert "
        "again."
    )

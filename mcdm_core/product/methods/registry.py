"""The kinds of settings: each is registered in a module that `methods/__init__.py` imports, and listed nowhere else."""

import itertools
from collections.abc import Sequence
from typing import TypeVar

from ..terms.span import SigmaAt
from .method import Method, Methods, Setting

Kind = TypeVar("Kind", bound=type[Setting])

SETTINGS: list[type[Setting]] = []


def register(kind: Kind) -> Kind:
    """Make settings of a class ones that switch methods on.

    Raises:
        TypeError: If the class has no `label` of its own.
    """
    if kind.label is Setting.label:
        raise TypeError(f"Expected {kind.__name__} to have a label of its own for its span; override `label`.")
    SETTINGS.append(kind)
    return kind


def methods_of(settings: Sequence[Setting | Method], sigma_at: SigmaAt | None = None) -> Methods:
    """The methods of a product; stages go through them in the order in which settings are given.

    Args:
        settings: The settings, or methods themselves; from nodes of ComfyUI in their order along the chain.
        sigma_at: Noise level of the reference expert at a progress of the sampling, 0…1; None where none is known.

    Raises:
        ValueError: If a span is empty, see `Span.window`.
        TypeError: If a setting is of a kind that is not registered here.
    """
    for setting in settings:
        if not isinstance(setting, Method) and type(setting) not in SETTINGS:
            raise TypeError(f"Expected settings of {', '.join(kind.name for kind in SETTINGS)}, and got {setting!r}.")
    of_each = ([each] if isinstance(each, Method) else each.methods(sigma_at) for each in settings)
    return Methods(itertools.chain.from_iterable(of_each))

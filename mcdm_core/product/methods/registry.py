"""The methods beyond the paper that settings switch on.

A new one is registered in a module of its own, which `methods/__init__.py` imports. Nothing else lists them.
"""

from collections.abc import Sequence
from typing import TypeVar

from ..terms.span import SigmaAt
from .method import Method, Methods, Setting

Kind = TypeVar("Kind", bound=type[Setting])

SETTINGS: list[type[Setting]] = []
"""In the order in which stages go through their methods, which is that of the imports: by the modules' names."""


def register(kind: Kind) -> Kind:
    """Make settings of a class ones that switch methods on."""
    SETTINGS.append(kind)
    return kind


def methods_of(settings: Sequence[Setting | Method], sigma_at: SigmaAt | None = None) -> Methods:
    """The methods of a product.

    Args:
        settings: In any order; a method itself comes after those of settings.
        sigma_at: Noise level of the reference expert at a progress of the sampling, 0…1; None where none is known.

    Raises:
        ValueError: If a span is empty, see `Span.window`.
        TypeError: If a setting is of a kind that is not registered here.
    """
    chosen = [setting for setting in settings if not isinstance(setting, Method)]
    for setting in chosen:
        if type(setting) not in SETTINGS:
            raise TypeError(f"Expected settings of {', '.join(kind.name for kind in SETTINGS)}, and got {setting!r}.")
    ordered = sorted(chosen, key=lambda setting: SETTINGS.index(type(setting)))
    given = [setting for setting in settings if isinstance(setting, Method)]
    return Methods([*(method for setting in ordered for method in setting.methods(sigma_at)), *given])

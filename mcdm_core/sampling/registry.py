"""Samplers by their name on the command line.

A new one is registered in a file of its own, which `sampling/__init__.py` imports. Nothing else lists them.
"""

from typing import TypeVar

from .types import Sampler

Named = TypeVar("Named", bound=Sampler)

SAMPLERS: dict[str, Sampler] = {}

ABOUT: dict[str, str] = {}
"""What the command line says of each."""


def register(name: str, sampler: Named, about: str) -> Named:
    """Make a sampler known by a name; `about` goes on after it, such as "adds none on the way" (of noise)."""
    SAMPLERS[name], ABOUT[name] = sampler, about
    return sampler

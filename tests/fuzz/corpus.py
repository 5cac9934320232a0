"""The two corpora, each a stream of spoiled files that a seed fixes."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from . import headers, pickles
from .bases import content_of


def header_files(bases: list[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Spoiled safetensors files, each with the name of what was done to it."""
    contents = [path.read_bytes() for path in bases]
    for index in range(count):
        rng = random.Random(f"headers {seed} {index}")
        yield headers.mutated(rng, rng.choice(contents))


def pickle_files(bases: list[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Spoiled files of `torch.save`, each with the name of what was done to it."""
    contents = [content_of(path) for path in bases]
    for index in range(count):
        rng = random.Random(f"pickles {seed} {index}")
        yield pickles.mutated(rng, rng.choice(contents))


CORPORA: dict[str, tuple[str, Callable[[list[Path], int, int], Iterator[tuple[str, bytes]]]]] = {
    "headers": (".safetensors", header_files),
    "pickles": (".pt", pickle_files),
}
"""Of each, how its files' names end, and what makes them."""

"""What a program has asked of a device, as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from .build import extension


@dataclass
class Copies:
    """Copies in one direction, and the bytes that they moved."""

    number: int = 0
    bytes: int = 0

    def __sub__(self, other: Copies) -> Copies:
        return Copies(self.number - other.number, self.bytes - other.bytes)


@dataclass
class Counts:
    """What one device was asked to do; the difference of two is what was asked between them.

    Attributes:
        operations: Number by name of what a device would launch as kernels: all that computes, and copies within it.
        synchronisations: Number of times that the host waited for the device, by what it waited in.
        to_device: Copies from the host.
        to_host: Copies to the host; a number that is read by `.item()` is a synchronisation, and not counted here.
        from_other: Copies from another such device.
        peak: Most bytes of memory that were in use at once; of a difference, the first one's.
    """

    operations: Counter[str] = field(default_factory=Counter)
    synchronisations: Counter[str] = field(default_factory=Counter)
    to_device: Copies = field(default_factory=Copies)
    to_host: Copies = field(default_factory=Copies)
    from_other: Copies = field(default_factory=Copies)
    peak: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            _difference(self.operations, other.operations),
            _difference(self.synchronisations, other.synchronisations),
            self.to_device - other.to_device,
            self.to_host - other.to_host,
            self.from_other - other.from_other,
            self.peak,
        )


def _difference(after: Counter[str], before: Counter[str]) -> Counter[str]:
    """The numbers that differ, which may be negative."""
    return Counter({name: after[name] - before[name] for name in after | before if after[name] != before[name]})


def counts_of(device: int = 0) -> Counts:
    """All that this process has asked of a device; `peak` is since the last `counted` began or ended."""
    found = extension().counts_of(device)
    copies = {name: getattr(found, name) for name in ("to_device", "to_host", "from_other")}
    return Counts(
        Counter(found.operations),
        Counter(found.synchronisations),
        **{name: Copies(of.number, of.bytes) for name, of in copies.items()},
        peak=extension().memory_of(device).peak,
    )


@contextmanager
def counted(device: int = 0) -> Iterator[Counts]:
    """Count what a block asks of a device; one may stand within another.

    Yields:
        The counts, which are filled in when the block ends. `peak` includes what was in use before it.
    """
    found, before = Counts(), counts_of(device)
    extension().set_peak(device, 0)  # which is at least what is in use
    try:
        yield found
    finally:
        of_block = counts_of(device) - before
        for one in fields(Counts):
            setattr(found, one.name, getattr(of_block, one.name))
        extension().set_peak(device, max(before.peak, found.peak))


def bytes_in_use(device: int = 0) -> int:
    """Bytes of a device's memory that tensors hold, each rounded up to 512 as CUDA's allocator does."""
    return extension().memory_of(device).in_use


def set_hollow_from(count: int) -> None:
    """Let tensors of at least so many bytes hold no values; to be set before such tensors are made.

    They have all that a tensor has but these: operations on them make results of the right shapes and compute nothing,
    so that a network of any size is placed and asked in seconds, with all allocations, operations and copies of the
    real one. A result that is small enough to hold values is 0. What depends on values doesn't run: choosing by a mask.
    """
    extension().set_hollow_from(count)


def set_relief(relieve: Callable[[int, int], None] | None) -> None:
    """Have a function called before a device is out of memory.

    Args:
        relieve: Is given the device and the bytes that it lacks, and may free some; None for none.
    """
    extension().set_relief(relieve)


def set_total_memory(count: int, device: int = 0) -> None:
    """Give a device so many bytes of memory; what asks for more gets torch's OutOfMemoryError."""
    extension().set_total(device, count)

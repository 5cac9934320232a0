"""Entry point of `python -m benchmarks.counts`: how often a step computes, waits and copies on a GPU, beside core's.

Nothing is timed and no GPU is needed: steps are counted on the accelerator of the tests, which takes a C++ compiler and
ninja. Networks are small; figures other than bytes don't depend on their size.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests import accelerator

from .comfyui import enter
from .command import parsed

if TYPE_CHECKING:
    from .counted_runs import Run
    from .counting import Asked

HEAD = (
    "| a step of | rows | operations | beside the networks | waits | at most | copies to the device | to the host | "
    "peak, MiB |\n|---|---|---|---|---|---|---|---|---|"
)
HOLLOW_FROM = 1 << 18  # bytes, above all that a step reads values of; VAEs' pictures would take minutes


class Line(NamedTuple):
    """What a step of a run asks, on average.

    Attributes:
        name: Of the run.
        core: Name of core's run that it is compared with.
        passes: How many of that one's steps it may be worth: the number of networks that it asks.
        rows: That networks are asked.
        operations: All.
        beside_networks: Without those that the networks' own calls take, and the VAEs'.
        waits: How often the host waits for the device.
        at_most: How often it may: as core's steps, and for the numbers that it can't do without.
        reads: The waits that read a number; others are copies.
        to_device: Copies to the device.
        to_device_bytes: What they move.
        to_host: Copies to the host.
        to_host_bytes: What they move.
        peak: Most bytes of the device in use during the run, with weights.
    """

    name: str
    core: str
    passes: int
    rows: float
    operations: float
    beside_networks: float
    waits: float
    at_most: float
    reads: float
    to_device: float
    to_device_bytes: float
    to_host: float
    to_host_bytes: float
    peak: int

    def __str__(self) -> str:
        """A row of the Markdown table."""
        figures = [self.rows, self.operations, self.beside_networks, self.waits, self.at_most]
        copies = [(self.to_device, self.to_device_bytes), (self.to_host, self.to_host_bytes)]
        cells = [self.name, *(f"{figure:g}" for figure in figures)]
        cells += [f"{number:g}, {count:g} B" if number else "0" for number, count in copies]
        return f"| {' | '.join(cells)} | {self.peak / 2**20:.1f} |"


def main() -> int:
    """Parse the command line, count, and print a Markdown table line by line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=(__doc__ or "").splitlines()[0])
    options = parsed(parser)
    try:
        accelerator.install()
    except accelerator.NotBuiltError as error:
        parser.error(str(error))
    logging.disable(logging.WARNING)
    node = enter(cpu=False)
    import torch

    from .counted_runs import Runs
    from .counting import asked

    torch.set_num_threads(1)
    accelerator.set_hollow_from(HOLLOW_FROM)
    found: dict[str, Asked] = {}
    lines = []
    sys.stdout.write(f"{HEAD}\n")
    with torch.inference_mode():  # as ComfyUI runs nodes
        for name, run in Runs(node).by_name().items():
            found[name] = asked(run.prepare, run.networks, run.vaes)
            lines.append(line_of(name, run, found[name], found[run.core]))
            sys.stdout.write(f"{lines[-1]}\n")
            sys.stdout.flush()
    if options.csv:
        write_csv(options.csv, lines)
    return 0


def line_of(name: str, run: Run, asked: Asked, core: Asked) -> Line:
    """The line of a run.

    Args:
        name: Its name.
        run: The run.
        asked: What its steps asked.
        core: What those of core's run asked.
    """
    from .counting import STEPS

    counts = asked.counts
    operations = counts.operations.total()
    waits, cores_waits = (each.synchronisations.total() / STEPS for each in (counts, core.counts))
    copies = [value / STEPS for way in (counts.to_device, counts.to_host) for value in (way.number, way.bytes)]
    return Line(
        name,
        run.core,
        run.passes,
        asked.rows / STEPS,
        operations / STEPS,
        (operations - asked.in_networks) / STEPS,
        waits,
        run.passes * cores_waits + run.reads,
        counts.synchronisations["item"] / STEPS,
        *copies,
        counts.peak,
    )


def write_csv(path: Path, lines: list[Line]) -> None:
    """One row per line of the table."""
    from .report import write_rows

    write_rows(path, [[*Line._fields], *lines])


if __name__ == "__main__":
    sys.exit(main())

"""Entry point of `python -m benchmarks.deaths`: the time that a run loses where its worker dies.

A worker is started on this machine as for `benchmarks.hosts`, and one of two experts of 8 steps put on it. Its process
is killed at the beginning of one step, of each in turn; runs in which nothing happens come between. Processor time is
that of the worker's processes. Needs Ray (`requirements-hosts.txt`) and pytest.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from .hosts import Products, measure_on_workers

if TYPE_CHECKING:
    from tests.support.ray_nodes import RayNodes

    from .cases import Result
    from .timing import Run

WORKER = "mortal"


def main() -> int:
    """Parse the command line, measure, and print a Markdown table line by line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deaths", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="steps of a run; the worker is killed at each of them (8)")
    return measure_on_workers(parser, [WORKER], measured)


def measured(products: Products, nodes: "RayNodes", options: argparse.Namespace) -> Iterator["Result"]:
    """All lines of the table."""
    import torch

    from .cases import Result
    from .intervals import Interval
    from .networks import HOSTS_SIZE, TIMED
    from .timing import sample

    steps = options.steps
    run = partial(sample, products.of([TIMED, TIMED], [None, WORKER]), HOSTS_SIZE.latent, steps)
    run()  # the first loads the networks
    lost, same = [], 0
    for step in range(steps):
        undisturbed, spent = _watched(run, nodes)
        killed, spent_by_both = _watched(run, nodes, step)
        lost.append((_seconds(killed) - _seconds(undisturbed), spent_by_both - spent))
        same += torch.equal(killed.sampled, undisturbed.sampled)
        yield Result(f"killed at step {step + 1} of {steps}: time lost", "s", tuple(map(Interval.exact, lost[-1])))
    clocks = list(zip(*lost, strict=True))
    yield Result("all of them: median and range", "s", tuple(Interval(median(c), min(c), max(c)) for c in clocks))
    yield Result("sampled as if nothing had happened, to the bit", f"of {steps} runs", (Interval.exact(same),))


def _watched(run: Callable[..., "Run"], nodes: "RayNodes", dies_at: int | None = None) -> tuple["Run", float]:
    """A run, and the processor time that the worker spends in it, in the process that dies and in that after it.

    Args:
        run: Samples.
        nodes: The cluster.
        dies_at: The step, from 0, at which the worker is killed; None for a run in which nothing happens.
    """
    spent = -_spent(nodes)

    def before_step(number: int) -> None:
        nonlocal spent
        if number == dies_at:
            spent += _spent(nodes)
            nodes.kill(WORKER)

    done = run(before_step=before_step)
    return done, spent + _spent(nodes)


def _spent(nodes: "RayNodes") -> float:
    """Processor time of the worker's process of now, in seconds."""
    times = nodes.process(WORKER).cpu_times()
    return times.user + times.system


def _seconds(run: "Run") -> float:
    """Of all steps: a step that is asked again counts with all that it waits for."""
    return sum(step.wall for step in run.steps)


if __name__ == "__main__":
    sys.exit(main())

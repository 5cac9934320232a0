"""Entry point of `python -m benchmarks.methods`: rows and time of the methods beyond the paper.

Each method is turned on as a user of the nodes does, on the experts that ship (hair map, skin map and caption of one
face), and compared with the plain product of the same experts, steps and batch.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .comfyui import enter
from .command import parsed
from .machine import machine

if TYPE_CHECKING:
    from .costs import Cost
    from .shipped import Faces
    from .timing import Span

PLAIN, PLAIN_WITHOUT_NULL = "plain product", "plain product, W = 1"
WITHOUT_NULL = (0.25, 0.25, 0.5)  # such weights sum to 1
EVERY_PASS = {"start": 0.0, "end": 1.0, "threshold": 1.0, "refresh": 1}  # with these, Fewer Passes saves nothing

Contenders = dict[str, Callable[[], Any]]


def main() -> int:
    """Parse the command line, measure, and print a Markdown table."""
    parser = _parser()
    options = parsed(parser, huge_pages=True)
    # Imported only where glibc has been asked, for it imports torch.
    from .costs import HEAD, line, write_csv

    logging.disable(logging.WARNING)
    node = enter(options.cpu)
    import torch

    from .shipped import Faces

    if options.threads:
        torch.set_num_threads(options.threads)
    with torch.inference_mode():  # as ComfyUI runs nodes
        faces = Faces(node, options.batch, options.steps)
        amounts = f"{options.steps} steps, batch of {options.batch}, {options.rounds} rounds"
        sys.stdout.write(f"shipped experts, {amounts}, {machine(faces.dtype)}\n\n{HEAD}\n")
        costs = list(measured(faces, options.batch, options.rounds))
    sys.stdout.writelines(f"{line(cost)}\n" for cost in costs)
    if options.csv:
        write_csv(options.csv, costs)
    return 0


class Run(NamedTuple):
    """What a run took: its time, and the rows that networks were asked."""

    span: "Span"
    rows: int


def measured(faces: "Faces", batch: int, rounds: int) -> Iterator["Cost"]:
    """The cost of each method, runs interleaved, after a run that does not count.

    Args:
        faces: The experts and the runs.
        batch: Pictures of a run.
        rounds: How often each contender is timed.
    """
    from .cases import compared
    from .costs import Cost
    from .intervals import ratio
    from .timing import Stopwatch, interleaved

    methods = contenders(faces)
    methods[PLAIN]()

    def run(name: str) -> Run:
        with faces.counting() as calls, Stopwatch(faces.device) as watch:
            methods[name]()
        return Run(watch.span, sum(calls))

    runs = list(interleaved({name: partial(run, name) for name in methods}, rounds))
    rows = {name: run.rows / batch for name, run in runs[0].items()}  # those of every round
    for name in methods:
        own, others = ([each[which].span for each in runs] for which in (name, PLAIN))
        yield Cost(name, rows[name], rows[name] / rows[PLAIN], compared(name, "ratio", ratio, own, others).figures)


def contenders(faces: "Faces") -> Contenders:
    """A whole run by each method, by name."""
    chain, without_null = faces.chain(), faces.chain(WITHOUT_NULL)
    (ancestral,) = faces.node("MCDM_SamplerDDIM", eta=1.0)
    (either,) = faces.node("MCDM_Logic", operation="or")

    def fewer(**widgets: Any) -> Callable[[], Any]:
        (saving,) = faces.node("MCDM_Passes", experts=chain, **widgets)
        return lambda: faces.sample(saving, ancestral)

    def scored() -> Any:
        return faces.sample(chain, ancestral, scores=True)

    return {
        PLAIN: lambda: faces.sample(chain, ancestral),
        "guidance interval .1 to .9": fewer(**{**EVERY_PASS, "start": 0.1, "end": 0.9}),
        "adaptive negative (.98, 4)": fewer(**{**EVERY_PASS, "threshold": 0.98, "refresh": 4}),
        "Fewer Passes as it comes": fewer(),
        "turns of 2 steps": fewer(**{**EVERY_PASS, "switch": 2}),
        "Logic Sampler, or": lambda: faces.sample(chain, either),
        "Choose Samples": lambda: faces.node("MCDM_Choose", experts=chain, samples=scored()),
        PLAIN_WITHOUT_NULL: lambda: faces.sample(without_null, ancestral),
    }


def _batch(text: str) -> int:
    if (batch := int(text)) < 2:
        raise argparse.ArgumentTypeError(f"expected 2 pictures or more, to choose from, and got {text}")
    return batch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="how often each method is timed (8)")
    parser.add_argument("--steps", type=int, default=25, help="of each run (25)")
    parser.add_argument("--batch", type=_batch, default=2, help="pictures made at once, 2 or more (2)")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU where there is a GPU")
    parser.add_argument("--threads", type=int, help="CPU threads that torch uses")
    return parser


if __name__ == "__main__":
    sys.exit(main())

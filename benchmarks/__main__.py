"""Entry point of `python -m benchmarks`: what a product costs beside its networks, in a real ComfyUI."""

import argparse
import logging
import sys

from .comfyui import enter
from .command import parsed
from .machine import machine

# Rounds, and steps of a run. Overhead is small and takes many; full-size networks are slow on a CPU and get few.
AMOUNTS = {"overhead": (20, 50), "networks": (10, 3), "adapters": (10, 3), "window": (10, 3), "spaces": (10, 1)}
FULL_SIZE_AMOUNTS = {**AMOUNTS, "networks": (6, 1), "adapters": (6, 1), "window": (3, 1), "spaces": (3, 1)}


def main() -> int:
    """Parse the command line, measure, and print a Markdown table line by line."""
    parser = _parser()
    options = parsed(parser, huge_pages=True)
    # Imported only where glibc has been asked, for it imports torch.
    from .report import HEAD, show, write_csv

    logging.disable(logging.WARNING)
    node = enter(options.cpu or options.dynamic_vram is not None)
    import torch

    from .cases import CASES, Guiders, Plan
    from .networks import SIZES, chosen_dtype

    if options.threads:
        torch.set_num_threads(options.threads)
    guiders = Guiders(node, SIZES[options.size])
    if options.dynamic_vram is not None:
        try:
            _stand_in_dynamic_vram(options)
        except (RuntimeError, ModuleNotFoundError) as error:
            parser.error(f"--dynamic-vram cannot be used here: {error}")
    sys.stdout.write(f"{options.size} networks, {machine(chosen_dtype())}\n\n{HEAD}\n")
    results = []
    with torch.inference_mode():  # as ComfyUI runs nodes
        for name in options.cases or CASES:
            rounds, steps = (FULL_SIZE_AMOUNTS if options.size == "full" else AMOUNTS)[name]
            plan = Plan(SIZES[options.size], options.rounds or rounds, options.steps or steps)
            results += show(CASES[name](guiders, plan))
    if options.csv:
        write_csv(options.csv, results)
    return 0


def _stand_in_dynamic_vram(options: argparse.Namespace) -> None:
    from .dynamic_vram import stand_in
    from .networks import SIZES, network

    stand_in(options.dynamic_vram, network(SIZES[options.size], 1).model_size())


def _share(text: str) -> float:
    if not 0 <= (share := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"expected a share of a network, from 0 to 1, and got {text}")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--size",
        choices=["tiny", "small", "full"],
        default="small",
        help="small: networks of 34 million parameters, about two minutes on one CPU core (the default); full: SD1.5's "
        "860 million, 64x64 latents and 16 GB of memory, an hour or more; tiny: only to see that everything runs",
    )
    parser.add_argument("--cases", nargs="+", choices=[*AMOUNTS], help="measure only these")
    parser.add_argument("--rounds", type=int, help="how often each contender runs")
    parser.add_argument("--steps", type=int, help="timed steps of each run")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU where there is a GPU")
    parser.add_argument(
        "--dynamic-vram",
        type=_share,
        metavar="SHARE",
        help="stand in for ComfyUI's dynamic VRAM on the CPU, with room for this share of a network; implies --cpu",
    )
    parser.add_argument("--threads", type=int, help="CPU threads that torch uses")
    return parser


if __name__ == "__main__":
    sys.exit(main())

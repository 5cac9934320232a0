"""`python -m mcdm_core train`: train what a configuration file describes. Needs `requirements-train.txt`."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from ..training.sections import Training, train
from .values import whole

log = logging.getLogger(__name__)

MOST_THREADS = 1024  # torch accepts any number, but aborts the process when the system has no more


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m mcdm_core train CONFIG`: train on the user's own folder."""
    run_training("python -m mcdm_core train", train, argv)


def run_training(program: str, training: Training, argv: Sequence[str] | None = None) -> None:
    """Train what a configuration describes and write it as a file.

    Args:
        program: Program and command, as they are started.
        training: Function that trains.
        argv: Arguments after `program`.
    """
    parser = argparse.ArgumentParser(
        prog=program, description=f"`{program} CONFIG`: train what a configuration describes and write it as a file."
    )
    parser.add_argument("config", type=Path, help="TOML file, see docs/training.md and docs/distil.md")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of states, logs and drawn data")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="state",
        metavar="FILE",
        help="go on from this run's saved state if there is one, or from the averaged weights of an expert file",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew, and replace what an earlier run of this name has left"
    )
    parser.add_argument("--threads", type=whole(0, MOST_THREADS), default=0, help="CPU threads, 0 for all")
    arguments = parser.parse_args(argv)
    if arguments.overwrite and arguments.resume is not None:
        parser.error("--resume goes on and --overwrite begins anew; give one of them")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    written = training(arguments.config, arguments.runs, arguments.resume, arguments.overwrite)
    log.info("Wrote %s", written)

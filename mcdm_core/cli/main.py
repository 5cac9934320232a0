"""Command line of the core: `python -m mcdm_core COMMAND …`, with each command's own help under `COMMAND --help`."""

from collections.abc import Sequence

from . import demo, distil, files, sample, sweep, train
from .commands import Command, run_command

COMMANDS = {
    "demo": Command(demo.main, "draw the README's picture: conditions, each expert alone, and all united"),
    "sample": Command(sample.main, "sample pictures from one expert or from the product of several"),
    "sweep": Command(sweep.main, "sample a grid of reliability × seed, or of reliability × guidance"),
    "train": Command(train.main, "train an expert from a configuration file"),
    "distil": Command(distil.main, "save a product as a LoRA, which needs one pass a step"),
    "info": Command(files.info, "say what an expert file was recognized as"),
    "convert": Command(files.convert, "write an expert file again as safetensors"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of `COMMANDS`; arguments and result are those of `run_command`."""
    return run_command("python -m mcdm_core", __doc__, COMMANDS, argv)

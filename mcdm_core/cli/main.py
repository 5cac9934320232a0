"""Command line of the core: `python -m mcdm_core COMMAND …`, with each command's own help under `COMMAND --help`."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

# Modules are imported only when their command runs: training and evaluation need packages that sampling does not.
COMMANDS = {
    "demo": (
        "mcdm_core.cli.demo:main",
        "draw the README's picture: conditions, each expert alone, and all united",
    ),
    "sample": ("mcdm_core.cli.sample:main", "sample pictures from one expert or from the product of several"),
    "sweep": ("mcdm_core.cli.sweep:main", "sample a grid of reliability × seed, or of reliability × guidance"),
    "train": ("mcdm_core.cli.train:main", "train an expert from a configuration file"),
    "evaluate": ("studies.evaluation:main", "measure experts and their products"),
    "info": ("mcdm_core.cli.files:info", "say what an expert file was recognized as"),
    "convert": ("mcdm_core.cli.files:convert", "write an expert file again as safetensors"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; None takes them from `sys.argv`.

    Returns:
        0, or 1 where what the user gave could not be used (one sentence on stderr says why).
    """
    parser = argparse.ArgumentParser(prog="python -m mcdm_core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, description) in COMMANDS.items():
        # Without a help option of its own, `COMMAND --help` reaches the command's parser.
        commands.add_parser(name, help=description, add_help=False)
    options, rest = parser.parse_known_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    module, function = COMMANDS[options.command][0].split(":")
    try:
        getattr(importlib.import_module(module), function)(rest)
    except (ValueError, OSError, ImportError) as error:
        logging.getLogger(__name__).debug("The command failed.", exc_info=True)
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0

"""Command line of the core: `python -m mcdm_core COMMAND …`, with each command's own help under `COMMAND --help`."""

import argparse
import logging
import sys
from collections.abc import Sequence

from .commands import all_commands
from .studies import register_studies


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; None takes them from `sys.argv`.

    Returns:
        0, or 1 where what the user gave could not be used (one sentence on stderr says why).
    """
    register_studies()
    commands = all_commands()
    parser = argparse.ArgumentParser(prog="python -m mcdm_core", description=__doc__)
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        # Without a help option of its own, `COMMAND --help` reaches the command's parser.
        choices.add_parser(name, help=command.description, add_help=False)
    options, rest = parser.parse_known_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        commands[options.command].run(rest)
    except (ValueError, OSError, ImportError) as error:
        logging.getLogger(__name__).debug("The command failed.", exc_info=True)
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0

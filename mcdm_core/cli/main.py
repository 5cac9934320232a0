"""Command line of the core: `python -m mcdm_core COMMAND …`, with each command's own help under `COMMAND --help`."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence

from ..system.failures import FAILED, foreseen
from .commands import all_commands
from .studies import register_studies


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; None takes them from `sys.argv`.

    Returns:
        0; or, with one sentence on stderr, 2 where what was given cannot be used, and 1 where it failed on the way: a
        full disk, a diverged loss, no memory, no such device, an interruption. A bug leaves its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may have letters that a pipe's encoding has not
        sys.stdout.reconfigure(errors="backslashreplace")
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
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Exception, KeyboardInterrupt) as error:
        outcome = foreseen(error)
        if outcome is None:
            raise
        code, sentence = outcome
        logging.getLogger(__name__).debug("The command failed.", exc_info=True)
        sys.stderr.write(f"error: {sentence}\n")
        return code
    return 0

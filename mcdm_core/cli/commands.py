"""Runs one of the commands of a program."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..system.failures import FAILED, foreseen


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        run: Called with the arguments after the command's name; handles `--help` itself.
        description: Its line in the program's `--help`.
    """

    run: Callable[[list[str]], object]
    description: str


def run_command(
    program: str, description: str | None, commands: Mapping[str, Command], argv: Sequence[str] | None = None
) -> int:
    """Run one command.

    Args:
        program: Command that starts the program.
        description: Description in its `--help`.
        commands: Commands by name.
        argv: Arguments after the program's name; None takes them from `sys.argv`.

    Returns:
        0; or, with one sentence on stderr, 2 for input that cannot be used and 1 for a failure while running: a full
        disk, a diverged loss, no memory, no such device, an interruption. A bug leaves its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have letters that a pipe's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog=program, description=description)
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        # Without a help option of its own, `COMMAND --help` reaches the command's parser.
        choices.add_parser(name, help=command.description, add_help=False)
    options, rest = parser.parse_known_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        commands[options.command].run(rest)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
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

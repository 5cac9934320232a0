"""The commands of `python -m mcdm_core`."""

from collections.abc import Callable
from dataclasses import dataclass

from . import demo, files, sample, sweep, train


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        run: Takes the arguments after the command's name, and explains itself at `--help`.
        description: What `python -m mcdm_core --help` says of it.
    """

    run: Callable[[list[str]], object]
    description: str


COMMANDS = {
    "demo": Command(demo.main, "draw the README's picture: conditions, each expert alone, and all united"),
    "sample": Command(sample.main, "sample pictures from one expert or from the product of several"),
    "sweep": Command(sweep.main, "sample a grid of reliability × seed, or of reliability × guidance"),
    "train": Command(train.main, "train an expert from a configuration file"),
    "info": Command(files.info, "say what an expert file was recognized as"),
    "convert": Command(files.convert, "write an expert file again as safetensors"),
}
"""The core's own, by name."""

_registered: dict[str, Command] = {}


def register_command(name: str, command: Command) -> None:
    """Add a command; the core's own keep their names, and of others the last of a name counts."""
    _registered[name] = command


def all_commands() -> dict[str, Command]:
    """The core's own commands and those that were added."""
    return _registered | COMMANDS

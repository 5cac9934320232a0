"""Command line of the studies: `python -m studies COMMAND …`, with each command's own help under `COMMAND --help`."""

# Modules that draw, train and measure are imported only where they are used.

from collections.abc import Sequence
from pathlib import Path

from mcdm_core.cli.commands import Command, run_command
from mcdm_core.cli.train import run_training
from mcdm_core.training import sections


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands; arguments and result are those of `run_command`."""
    commands = {
        "evaluate": Command(_evaluate, "measure experts and their products"),
        "gallery": Command(_gallery, "draw the pictures of the pages"),
        "distil": Command(_distil, "as `python -m mcdm_core distil`, also of drawn prompts"),
        "train": Command(_train, "train on drawn pictures, or whatever `python -m mcdm_core train` trains"),
    }
    return run_command("python -m studies", __doc__, commands, argv)


def _evaluate(arguments: list[str]) -> None:
    from .evaluation import main

    main(arguments)


def _gallery(arguments: list[str]) -> None:
    from .gallery import main

    main(arguments)


def _distil(arguments: list[str]) -> None:
    run_training("python -m studies distil", distil, arguments)


def distil(config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False) -> Path:
    """As `mcdm_core.distil.command.distil`, also of drawn prompts."""
    from mcdm_core.distil import command

    from .training.prompts import draw_prompts

    return command.distil(config_path, runs, resume, overwrite, draw_prompts)


def _train(arguments: list[str]) -> None:
    run_training("python -m studies train", train, arguments)


def train(config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False) -> Path:
    """As `mcdm_core.training.sections.train`, also on drawn pictures, and the GAN of a section `[gan]`."""
    from mcdm_core.training.config import read_toml

    from .training.kinds import KINDS

    if "gan" in read_toml(config_path):
        from .baselines.training import train_gan

        return train_gan(config_path, runs, resume, overwrite)
    return sections.train(config_path, runs, resume, overwrite, KINDS)

"""What the studies add to the core's command line: kinds of drawn data, a training, and the command `evaluate`.

`python -m mcdm_core` registers all of it before any of its commands, so what draws, trains and measures is imported
only where it is used.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from mcdm_core.cli.commands import Command, register_command
from mcdm_core.training.kinds import register_kind
from mcdm_core.training.sections import register_section

if TYPE_CHECKING:  # it needs what only training needs
    from mcdm_core.training.data_kind import DataKind


def register() -> None:
    """Make all of it known to the core."""
    register_kind("mixture", _mixture)
    register_kind("faces", _faces)
    register_kind("landscapes", _landscapes)
    register_kind("animals", _animals)
    register_section("gan", _gan)
    register_command("evaluate", Command(_evaluate, "measure experts and their products"))


def _mixture() -> "DataKind":
    from .training.mixture_kind import MixtureKind

    return MixtureKind()


def _faces() -> "DataKind":
    from .training.faces import FaceKind

    return FaceKind()


def _landscapes() -> "DataKind":
    from .training.landscapes import LandscapeKind

    return LandscapeKind()


def _animals() -> "DataKind":
    from .training.animals import AnimalKind

    return AnimalKind()


def _gan(config_path: Path, runs: Path, resume: str | None, overwrite: bool) -> Path:
    from .baselines.training import train_gan

    return train_gan(config_path, runs, resume, overwrite)


def _evaluate(arguments: list[str]) -> None:
    from .evaluation import main

    main(arguments)

"""What a configuration is trained by: a section tells dual encoders and the like from experts."""

from collections.abc import Callable
from pathlib import Path

Training = Callable[[Path, Path, str | None, bool], Path]
"""(configuration, folder of runs, what to resume from, whether to overwrite) → the file written; see `train`."""


def _dual_encoder(config_path: Path, runs: Path, resume: str | None, overwrite: bool) -> Path:
    from .dual_encoder_run import train_from_config

    # It takes minutes, and keeps no state: to resume it is to begin again.
    return train_from_config(config_path, runs, overwrite or resume is not None)


def _autoencoder(config_path: Path, runs: Path, resume: str | None, overwrite: bool) -> Path:
    from .autoencoder import train_autoencoder

    return train_autoencoder(config_path, runs, resume, overwrite)


def _expert(config_path: Path, runs: Path, resume: str | None, overwrite: bool) -> Path:
    from .run import train_expert

    return train_expert(config_path, runs, resume, overwrite)


_TRAININGS: dict[str, Training] = {"dual_encoder": _dual_encoder, "autoencoder": _autoencoder}


def register_section(section: str, training: Training) -> None:
    """Make known what trains the configurations that have a section, in place of what did.

    Args:
        section: Its name.
        training: Imports that it needs belong in there: they are made when it is called.
    """
    _TRAININGS[section] = training


def train(config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False) -> Path:
    """Train what a configuration describes: an expert, where no section tells otherwise.

    Args:
        config_path: The TOML file.
        runs: Folder of states, logs and drawn data; the run gets a subfolder of its name.
        resume: None to begin; "state" to go on where the run stopped; or a file to go on from.
        overwrite: Whether a run that begins anew may replace what an earlier one of its name has left.

    Returns:
        The file written.

    Raises:
        ValueError: The configuration is wrong, its data cannot be used, the run cannot go on from there, or there is
            something of an earlier run and it was not said what to do with it.
        ForeseenError: The loss diverged, or another run is in the folder.
        WriteError: Something could not be written; what it replaces is unchanged.
    """
    from .config import read_toml

    sections = read_toml(config_path)
    training = next((_TRAININGS[name] for name in _TRAININGS if name in sections), _expert)
    return training(config_path, runs, resume, overwrite)

"""What a configuration is trained by: a section tells dual encoders and the like from experts."""

from collections.abc import Callable
from pathlib import Path

from .kinds import KINDS, Kinds

Training = Callable[[Path, Path, str | None, bool], Path]
"""(configuration, folder of runs, what to resume from, whether to overwrite) → the file written; see `train`."""


def _dual_encoder(config_path: Path, runs: Path, resume: str | None, overwrite: bool, kinds: Kinds) -> Path:
    from .dual_encoder_run import train_from_config

    # It takes minutes, and keeps no state: to resume it is to begin again.
    return train_from_config(config_path, runs, overwrite or resume is not None, kinds)


def _autoencoder(config_path: Path, runs: Path, resume: str | None, overwrite: bool, kinds: Kinds) -> Path:
    from .autoencoder import train_autoencoder

    return train_autoencoder(config_path, runs, resume, overwrite, kinds)


def _expert(config_path: Path, runs: Path, resume: str | None, overwrite: bool, kinds: Kinds) -> Path:
    from .run import train_expert

    return train_expert(config_path, runs, resume, overwrite, kinds)


_TRAININGS = {"dual_encoder": _dual_encoder, "autoencoder": _autoencoder}


def train(
    config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False, kinds: Kinds = KINDS
) -> Path:
    """Train what a configuration describes: an expert, where no section tells otherwise.

    Args:
        config_path: The TOML file.
        runs: Folder of states, logs and drawn data; the run gets a subfolder of its name.
        resume: None to begin; "state" to go on where the run stopped; or a file to go on from.
        overwrite: Whether a run that begins anew may replace what an earlier one of its name has left.
        kinds: The kinds of data that it may name.

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
    if "gan" in sections:
        raise ValueError(
            "Expected an expert, a dual encoder or a VAE to train and got a section [gan]; run `python -m studies "
            "train` in a clone of the repository."
        )
    training = next((_TRAININGS[name] for name in _TRAININGS if name in sections), _expert)
    return training(config_path, runs, resume, overwrite, kinds)

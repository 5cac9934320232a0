"""Trains any configuration: its sections tell whether it is an expert, a dual encoder or a VAE."""

from collections.abc import Callable
from pathlib import Path

from .kinds import KINDS, Kinds, kind_named

Training = Callable[[Path, Path, str | None, bool], Path]
"""(configuration, folder of runs, resume, overwrite) → the file written; see `train`."""


def train(
    config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False, kinds: Kinds = KINDS
) -> Path:
    """Train a configuration: a dual encoder or a VAE if it has such a section, else an expert.

    Args:
        config_path: The TOML file.
        runs: Folder of states, logs and drawn data; the run gets a subfolder of its name.
        resume: None to begin; "state" to continue where the run stopped; or a file to continue from.
        overwrite: Whether a new run may replace files of an earlier one of its name.
        kinds: The kinds of data that it may name.

    Returns:
        The file written.

    Raises:
        ValueError: The configuration is wrong, its data cannot be used, the run cannot be resumed, or there are files
            of an earlier run and neither `resume` nor `overwrite` was given.
        ForeseenError: The loss diverged, or another run uses the folder.
        WriteError: A file could not be written; its former content is unchanged.
    """
    from .config import read_toml

    sections = read_toml(config_path)
    if "gan" in sections:
        raise ValueError(
            "Expected an expert, a dual encoder or a VAE to train and got a section [gan]; run `python -m studies "
            "train` in a clone of the repository."
        )
    if "dual_encoder" in sections:
        return _train_dual_encoder(config_path, runs, overwrite or resume is not None, kinds)
    if "autoencoder" in sections:
        from .autoencoder.run import train_autoencoder

        return train_autoencoder(config_path, runs, resume, overwrite, kinds)
    from .expert.run import train_expert

    return train_expert(config_path, runs, resume, overwrite, kinds)


def _train_dual_encoder(config_path: Path, runs: Path, overwrite: bool, kinds: Kinds) -> Path:
    """Train both towers; it takes minutes and keeps no state, so resuming is beginning again."""
    from .config import load_dual_encoder_config
    from .dual_encoder.alignment import align
    from .dual_encoder.towers import save_dual_encoder, train_dual_encoder
    from .loop.run_folder import run_folder

    config = load_dual_encoder_config(config_path)
    with run_folder(runs, config.name, overwrite=overwrite) as run:
        pairs = kind_named(config.kind, kinds).prepare_pairs(config, config_path.parent)
        model = train_dual_encoder(config, pairs.source, pairs.held_out, pairs.tower)
        align(model, pairs.source)
        save_dual_encoder(run.written, model, config)
    return run.written

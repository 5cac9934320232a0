"""One training of a dual encoder, from its configuration to its file."""

from pathlib import Path

from .config import load_dual_encoder_config
from .dual_encoder.alignment import align
from .dual_encoder.towers import save_dual_encoder, train_dual_encoder
from .kinds import KINDS, Kinds, kind_named
from .loop.run_folder import run_folder


def train_from_config(config_path: Path, runs: Path, overwrite: bool = False, kinds: Kinds = KINDS) -> Path:
    """Train the towers that a TOML file with a `[dual_encoder]` section describes.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.
        overwrite: Whether an earlier file of this name may be replaced.
        kinds: The kinds of data that it may be trained on.

    Returns:
        The file written: both towers, with their configuration in the header.

    Raises:
        ValueError: The configuration is wrong, its pairs cannot be used, or there is such a file.
    """
    config = load_dual_encoder_config(config_path)
    with run_folder(runs, config.name, overwrite=overwrite) as run:
        pairs = kind_named(config.kind, kinds).prepare_pairs(config, config_path.parent)
        model = train_dual_encoder(config, pairs.source, pairs.held_out, pairs.tower)
        align(model, pairs.source)
        save_dual_encoder(run.written, model, config)
    return run.written

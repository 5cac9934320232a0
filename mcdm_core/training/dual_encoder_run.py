"""One training of a dual encoder, from its configuration to its file."""

from pathlib import Path

from .alignment import align
from .config import load_dual_encoder_config
from .dual_encoder import save_dual_encoder, train_dual_encoder
from .kinds import kind_named


def train_from_config(config_path: Path, runs: Path) -> Path:
    """Train the towers that a TOML file with a `[dual_encoder]` section describes.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.

    Returns:
        The file written: both towers, with their configuration in the header.

    Raises:
        ValueError: The configuration is wrong, or its pairs cannot be used.
    """
    config = load_dual_encoder_config(config_path)
    pairs = kind_named(config.kind).prepare_pairs(config, config_path.parent)
    model = train_dual_encoder(config, pairs.source, pairs.held_out, pairs.tower)
    align(model, pairs.source)
    path = runs / config.name / f"{config.name}.safetensors"
    save_dual_encoder(path, model, config)
    return path

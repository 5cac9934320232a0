"""Embeddings of pictures by a dual encoder, which text experts are trained on (paper §7.3)."""

from pathlib import Path

import torch

from ...expert.expert import Expert
from ...networks.text_tower import TextTower
from ..config import DataConfig, TrainingConfig
from .towers import Towers, load_dual_encoder


def check_text_encoder(data: DataConfig) -> None:
    """Check that the modality "text" comes with a dual encoder.

    Raises:
        ValueError: It names none.
    """
    if "text" in data.modalities and not data.text_encoder:
        raise ValueError('The modality "text" needs a dual encoder; train one and name its file in text_encoder.')


def load_towers(config: TrainingConfig, base: Path) -> Towers | None:
    """Read the dual encoder of a configuration; None where the modality is not "text".

    Args:
        config: The run.
        base: Folder that the encoder's path is relative to.

    Raises:
        ValueError: It cannot be read, or does not fit the network.
    """
    if "text" not in config.data.modalities:
        return None
    towers = load_dual_encoder(base / config.data.text_encoder)
    check_embedding(config, towers.text.config.dim)
    return towers


def check_embedding(config: TrainingConfig, dim: int) -> None:
    """Check that the network takes embeddings of length `dim`.

    Raises:
        ValueError: It doesn't.
    """
    if config.network.pooled_dim != dim:
        raise ValueError(
            f"The dual encoder's embeddings have length {dim} and [network] has pooled_dim = "
            f"{config.network.pooled_dim}; set pooled_dim = {dim}."
        )


def check_tower(expert: Expert, tower: TextTower) -> None:
    """Check that an expert to continue from was trained with this text tower: each has its own embedding space.

    Raises:
        ValueError: It was trained with another, or with none.
    """
    own = getattr(expert.encoder, "tower", None)
    if own is None or not _same_weights(own, tower):
        raise ValueError(
            f"Expected the dual encoder that {expert.name} was trained with and got another one; name its file in "
            "text_encoder, or begin anew, without --resume."
        )


def _same_weights(stored: TextTower, tower: TextTower) -> bool:
    """Whether two towers are equal in half precision, the precision of expert files."""
    one, other = ({key: value.half() for key, value in t.state_dict().items()} for t in (stored, tower))
    return one.keys() == other.keys() and all(
        one[key].shape == other[key].shape and torch.equal(one[key], other[key]) for key in one
    )

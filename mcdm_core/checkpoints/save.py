"""Writing expert files."""

import os
from pathlib import Path

from torch import nn

from ..conditions.captions import TEXT_PREFIX
from ..system.formats import write_tensors
from ..system.shipped import expert_path
from .contents import CheckpointError
from .load import assemble, describe
from .metadata import METADATA_KEY, ExpertMetadata
from .recognition import Overrides
from .safe_reading import read_checkpoint
from .weights import refuse_not_finite, refuse_spoiled


def save_expert(
    path: str | os.PathLike, network: nn.Module, metadata: ExpertMetadata, text_encoder: nn.Module | None = None
) -> None:
    """Write an expert as safetensors.

    Args:
        path: File to write; it appears only when complete.
        network: The UNet that `metadata.network` describes.
        metadata: Everything else needed to load it.
        text_encoder: The text tower of a text expert.

    Raises:
        ValueError: The description and the tensors don't make an expert that can be loaded; nothing was written.
        WriteError: It could not be written; what the file held before is unchanged.
    """
    tensors = dict(network.state_dict())
    if text_encoder is not None:
        tensors |= {TEXT_PREFIX + name: tensor for name, tensor in text_encoder.state_dict().items()}
    text = metadata.to_json()
    try:
        assemble(tensors, describe(tensors, text, path, None), path)
        refuse_spoiled(tensors, Path(path).name)
    except CheckpointError as error:
        raise ValueError(f"Expected an expert that can be loaded again, and nothing was written: {error}") from None
    write_tensors(path, tensors, {METADATA_KEY: text})


def convert_expert(
    source: str | os.PathLike, target: str | os.PathLike, overrides: Overrides | None = None
) -> ExpertMetadata:
    """Write an expert file again as safetensors with a header: the same tensors, and their description.

    Args:
        source: Any file that `load_expert` reads.
        target: File to write; it appears only when complete.
        overrides: Values that replace the recognized ones; they go into the header.

    Returns:
        The header's description.

    Raises:
        CheckpointError: As `load_expert`.
        FileNotFoundError: If there is no such source.
        WriteError: The target could not be written.
    """
    source = expert_path(source)
    tensors, text = read_checkpoint(source, METADATA_KEY)
    metadata = describe(tensors, text, source, overrides)
    assemble(tensors, metadata, source)  # refuses tensors that don't fit
    refuse_not_finite(tensors, source)
    write_tensors(target, tensors, {METADATA_KEY: metadata.to_json()})
    return metadata

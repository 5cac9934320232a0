"""Expert files: safetensors whose header says what the network is, or the same content saved by `torch.save`.

The header's metadata has one key, "mcdm", a JSON object (see `ExpertMetadata`). The network's tensors are named as in
`UNet`; those of a text encoder have the prefix "text_encoder.". Files are recognized by content, never by extension,
and nothing is unpickled but tensors, numbers, strings and containers.
"""

import logging
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .checkpoint_files import CheckpointError, read_checkpoint, read_metadata_text
from .experts import Expert
from .metadata import ExpertMetadata
from .networks import UNet
from .prediction import prediction_named
from .schedule import Schedule

__all__ = ["CheckpointError", "ExpertMetadata", "load_expert", "read_metadata", "save_expert"]

METADATA_KEY = "mcdm"
TEXT_PREFIX = "text_encoder."

logger = logging.getLogger(__name__)


def save_expert(
    path: str | os.PathLike, network: nn.Module, metadata: ExpertMetadata, text_encoder: nn.Module | None = None
) -> None:
    """Write an expert as safetensors.

    Args:
        path: File to write; it appears only when complete.
        network: The UNet that `metadata.network` describes.
        metadata: Everything else needed to load it.
        text_encoder: The text tower of a text expert.
    """
    tensors = dict(network.state_dict())
    if text_encoder is not None:
        tensors |= {TEXT_PREFIX + name: tensor for name, tensor in text_encoder.state_dict().items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    partial = Path(f"{os.fspath(path)}.partial")
    save_file(tensors, partial, metadata={METADATA_KEY: metadata.to_json()})
    partial.replace(path)


def read_metadata(path: str | os.PathLike) -> ExpertMetadata:
    """What an expert file says about itself; of a safetensors file only the header is read.

    Raises:
        CheckpointError: If the file cannot be used; the message is one sentence for the user.
    """
    return _parse(read_metadata_text(path, METADATA_KEY), path)


def load_expert(path: str | os.PathLike, device: torch.device | str = "cpu") -> Expert:
    """Load an expert.

    Example:
        >>> expert = load_expert("experts/hair.safetensors")
        >>> expert.image_size, expert.encoder.kind
        (64, 'map')

    Args:
        path: A file written by `save_expert`.
        device: Where the network goes.

    Returns:
        The expert with its encoder, in evaluation mode, without gradients.

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, contains code, or its tensors don't fit; a
            ValueError whose message is one sentence for the user.
        FileNotFoundError: If there is no such file.
    """
    from .conditions import build_encoder  # encoders need packages that the rest of the core does not

    tensors, text = read_checkpoint(path, METADATA_KEY)
    metadata = _parse(text, path)
    text_state = {k.removeprefix(TEXT_PREFIX): v for k, v in tensors.items() if k.startswith(TEXT_PREFIX)}
    state = {k: v for k, v in tensors.items() if not k.startswith(TEXT_PREFIX)}

    with torch.device("meta"):
        network = UNet(metadata.network)
    _check_tensors(network.state_dict(), state, path)
    network.load_state_dict(state, assign=True)
    network = network.eval().requires_grad_(False).to(device)

    channels = metadata.network.in_channels
    expert = Expert(
        network,
        Schedule.named(metadata.schedule),
        prediction_named(metadata.prediction),
        image_size=metadata.image_size,
        channels=channels,
        encoder=build_encoder(metadata.condition, metadata.image_size, channels, text_state),
        name=metadata.name,
        metadata=metadata.to_dict(),
    )
    logger.info("Loaded %r from %s", expert, path)
    return expert


def _parse(text: str | None, path: str | os.PathLike) -> ExpertMetadata:
    name = Path(path).name
    if text is None:
        raise CheckpointError(
            f"{name} is a checkpoint, but does not describe an expert; choose a file written by `mcdm_core train`."
        )
    try:
        return ExpertMetadata.from_json(text)
    except ValueError as error:
        raise CheckpointError(f"{name} has a description that cannot be used: {error}") from None


def _check_tensors(expected: dict[str, Tensor], found: dict[str, Tensor], path: str | os.PathLike) -> None:
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    reshaped = [
        f"{key} ({tuple(found[key].shape)} instead of {tuple(tensor.shape)})"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    for problem, keys in (("lacks", missing), ("has unexpected", unexpected), ("has wrong shapes in", reshaped)):
        if keys:
            listed = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
            raise CheckpointError(
                f"{Path(path).name} {problem} {len(keys)} of the network's {len(expected)} tensors ({listed}); "
                "it does not belong to the network its header describes, so download or export it again."
            )

"""Expert files: safetensors whose header says what the network is, or the same content saved by `torch.save`.

The header's metadata has one key, "mcdm", a JSON object (see `ExpertMetadata`). The network's tensors are named as in
`UNet`; those of a text encoder have the prefix "text_encoder.". Published files have no such header: they are
recognized from their tensors, among which GLIDE's text transformer has no prefix. Files are recognized by content,
never by extension, and nothing is unpickled but tensors, numbers, strings and containers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..diffusion.prediction import prediction_named
from ..diffusion.schedule import Schedule
from ..expert.expert import Expert
from ..networks import UNet
from .metadata import ExpertMetadata
from .recognition import Overrides, difference, recognize
from .safe_reading import CheckpointError, read_checkpoint, read_metadata_text

__all__ = ["CheckpointError", "ExpertMetadata", "convert_expert", "load_expert", "read_metadata", "save_expert"]

METADATA_KEY = "mcdm"
TEXT_PREFIX = "text_encoder."
FARL = "FaRL-Base-Patch16-LAIONFace20M-ep64.pth"
GLIDE_TEXT = (
    "token_embedding.",
    "positional_embedding",
    "padding_embedding",
    "transformer.",
    "final_ln.",
    "transformer_proj.",
)

if TYPE_CHECKING:
    from ..conditions import ClipTextTower

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
    _write(path, tensors, metadata)


def convert_expert(
    source: str | os.PathLike, target: str | os.PathLike, overrides: Overrides | None = None
) -> ExpertMetadata:
    """Write an expert file again as safetensors with a header: the same tensors, and what they were recognized as.

    Args:
        source: Any file that `load_expert` reads.
        target: File to write; it appears only when complete.
        overrides: Settings that are known better; they go into the header.

    Returns:
        The header's description.

    Raises:
        CheckpointError: As `load_expert`.
        FileNotFoundError: If there is no such source.
    """
    tensors, text = read_checkpoint(source, METADATA_KEY)
    metadata = _describe(tensors, text, source, overrides)
    _assemble(tensors, metadata, source)  # refuses tensors that don't fit
    _write(target, tensors, metadata)
    return metadata


def _write(path: str | os.PathLike, tensors: dict[str, Tensor], metadata: ExpertMetadata) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    partial = Path(f"{os.fspath(path)}.partial")
    save_file(tensors, partial, metadata={METADATA_KEY: metadata.to_json()})
    partial.replace(path)


def read_metadata(path: str | os.PathLike, overrides: Overrides | None = None) -> ExpertMetadata:
    """What an expert file says about itself, or what its tensors show.

    Only the header of a safetensors file that has a description is read.

    Raises:
        CheckpointError: If the file cannot be used; the message is one sentence for the user.
    """
    text = read_metadata_text(path, METADATA_KEY)
    tensors = read_checkpoint(path, METADATA_KEY)[0] if text is None else {}
    return _describe(tensors, text, path, overrides)


def load_expert(
    path: str | os.PathLike,
    device: torch.device | str = "cpu",
    overrides: Overrides | None = None,
    text_encoder: str | os.PathLike | None = None,
) -> Expert:
    """Load an expert.

    The tensors keep the dtype in which they are stored, and on the CPU they are the file's own, mapped into memory.

    Example:
        >>> expert = load_expert("experts/hair.safetensors")
        >>> expert.image_size, expert.encoder.kind
        (64, 'map')
        >>> expert = load_expert("models/mcdm/my_adm.pt", overrides=Overrides(schedule="cosine", num_head_channels=32))

    Args:
        path: A file written by `save_expert`, or a published one (see `recognition.PUBLISHED`).
        device: Where the network goes.
        overrides: Settings that are known better than the file's tensors or header tell them.
        text_encoder: FaRL's file, which the paper's face expert reads texts with; by default the one in the folder of
            `path` whose name begins with "FaRL". It is opened when the first text is encoded.

    Returns:
        The expert with its encoder, in evaluation mode, without gradients.

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, contains code, or its tensors don't fit; a
            ValueError whose message is one sentence for the user.
        FileNotFoundError: If there is no such file.
    """
    tensors, text = read_checkpoint(path, METADATA_KEY)
    expert = _assemble(tensors, _describe(tensors, text, path, overrides), path, text_encoder).to(device)
    logger.info("Loaded %r from %s", expert, path)
    return expert


def _assemble(
    tensors: dict[str, Tensor],
    metadata: ExpertMetadata,
    path: str | os.PathLike,
    text_encoder: str | os.PathLike | None = None,
) -> Expert:
    """The expert that a file's tensors and their description make; raises as `load_expert`."""
    from ..conditions import build_encoder  # encoders need packages that the rest of the core does not

    channels = metadata.network.in_channels
    network_state, encoder_state = _split(tensors, metadata)
    return Expert(
        _build_network(metadata, network_state, path),
        Schedule.named(metadata.schedule),
        prediction_named(metadata.prediction),
        image_size=metadata.image_size,
        channels=channels,
        encoder=build_encoder(
            metadata.condition, metadata.image_size, channels, encoder_state, lambda: _load_farl(path, text_encoder)
        ),
        name=metadata.name,
        metadata=metadata.to_dict(),
    )


def text_encoder_among(names: Iterable[str]) -> str | None:
    """Name of FaRL's file among others: the one the paper's networks were trained with, else the first called FaRL."""
    found = sorted(name for name in names if Path(name).name.lower().startswith("farl"))
    return next((name for name in found if Path(name).name == FARL), found[0] if found else None)


def _load_farl(path: str | os.PathLike, text_encoder: str | os.PathLike | None) -> ClipTextTower:
    from ..conditions import ClipTextTower, load_towers

    if text_encoder is None:
        beside = Path(path).resolve().parent
        found = text_encoder_among([file.name for file in beside.iterdir() if file.is_file()])
        text_encoder = None if found is None else beside / found
        if text_encoder is None:
            raise CheckpointError(
                f"{Path(path).name} reads texts with FaRL's text encoder; put {FARL} into its folder."
            )
    tower = load_towers(text_encoder).get("text")
    if not isinstance(tower, ClipTextTower):
        raise CheckpointError(f"{Path(text_encoder).name} does not hold FaRL's text encoder; use {FARL}.")
    return tower


def _describe(
    tensors: dict[str, Tensor], text: str | None, path: str | os.PathLike, overrides: Overrides | None
) -> ExpertMetadata:
    name = Path(path).name
    if text is None:
        _refuse_towers(tensors, name)
        return recognize({key: tuple(tensor.shape) for key, tensor in tensors.items()}, name, overrides)
    try:
        metadata = ExpertMetadata.from_json(text)
    except ValueError as error:
        raise CheckpointError(f"{name} has a description that cannot be used: {error}") from None
    return overrides.apply(metadata) if overrides else metadata


def _refuse_towers(tensors: dict[str, Tensor], name: str) -> None:
    from ..conditions import tower_kinds

    kinds = tower_kinds(tensors)
    if kinds:
        raise CheckpointError(
            f"{name} is no diffusion expert but {' and '.join(kind.name for kind in kinds)}; choose an expert, and "
            "leave this file beside the experts that need it."
        )


def _split(tensors: dict[str, Tensor], metadata: ExpertMetadata) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of the network and of its encoder, each named as in its module."""
    prefixes = {"text": (TEXT_PREFIX,), "tokens": GLIDE_TEXT}.get(metadata.condition.get("kind", ""), ())
    network = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}
    encoder = {name.removeprefix(TEXT_PREFIX): tensors[name] for name in tensors if name not in network}
    if "label_emb.weight" in network:  # the null may be the mean of the class embeddings
        encoder["label_emb.weight"] = network["label_emb.weight"]
    return network, encoder


def _build_network(metadata: ExpertMetadata, state: dict[str, Tensor], path: str | os.PathLike) -> UNet:
    """The network with the file's own tensors, in evaluation mode.

    Raises:
        CheckpointError: If the tensors are others than the description asks for.
    """
    with torch.device("meta"):
        network = UNet(metadata.network)
    expected, found = ({k: tuple(v.shape) for k, v in part.items()} for part in (network.state_dict(), state))
    problem = difference(expected, found, "the network's")
    if problem:
        raise CheckpointError(
            f"{Path(path).name} {problem}; it does not belong to the network its header describes, so download or "
            "export it again."
        )
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)

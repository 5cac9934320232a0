"""Expert files: safetensors whose header says what the network is, or the same content saved by `torch.save`.

The header's metadata has one key, "mcdm", a JSON object (see `ExpertMetadata`). The network's tensors are named as in
`UNet`; those of a text encoder have the prefix "text_encoder.". Published files have no such header: they are
recognized from their tensors, among which GLIDE's text transformer has no prefix. Files are recognized by content,
never by extension, and nothing is unpickled but tensors, numbers, strings and containers.
"""

import logging
import os
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..conditions import build_encoder, encoder_of_kind
from ..conditions.captions import TEXT_PREFIX
from ..diffusion.prediction import prediction_named
from ..diffusion.schedule import Schedule
from ..expert import Expert
from ..networks import UNet
from .farl import load_farl
from .metadata import METADATA_KEY, ExpertMetadata
from .recognition import Overrides, difference, recognize
from .safe_reading import CheckpointError, read_checkpoint, read_metadata_text
from .towers import tower_kinds
from .vae_of import load_vae_of

logger = logging.getLogger(__name__)


def load_expert(
    path: str | os.PathLike,
    device: torch.device | str = "cpu",
    overrides: Overrides | None = None,
    text_encoder: str | os.PathLike | None = None,
    vae: str | os.PathLike | None = None,
) -> Expert:
    """Load an expert.

    The tensors keep the dtype in which they are stored, and on the CPU they are the file's own, mapped into memory.

    Example:
        >>> expert = load_expert("experts/hair.safetensors")
        >>> expert.image_size, expert.encoder.kind
        (64, 'map')
        >>> expert = load_expert("models/mcdm/my_adm.pt", overrides=Overrides(schedule="cosine", num_head_channels=32))

    Args:
        path: A file written by `save_expert`, or a published one (see `recognition.published`).
        device: Where the network goes.
        overrides: Settings that are known better than the file's tensors or header tell them.
        text_encoder: FaRL's file, which the paper's face expert reads texts with; by default the one in the folder of
            `path` whose name begins with "FaRL". It is opened when the first text is encoded.
        vae: File of the VAE whose latents the expert makes, where it makes any; by default found near `path`, see
            `load_vae_of`. It is opened when the first picture is encoded or decoded.

    Returns:
        The expert with its encoder, in evaluation mode, without gradients.

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, contains code, or its tensors don't fit; a
            ValueError whose message is one sentence for the user.
        FileNotFoundError: If there is no such file.
    """
    tensors, text = read_checkpoint(path, METADATA_KEY)
    expert = assemble(tensors, describe(tensors, text, path, overrides), path, text_encoder, vae).to(device)
    logger.info("Loaded %r from %s", expert, path)
    return expert


def read_metadata(path: str | os.PathLike, overrides: Overrides | None = None) -> ExpertMetadata:
    """What an expert file says about itself, or what its tensors show.

    Only the header of a safetensors file that has a description is read.

    Raises:
        CheckpointError: If the file cannot be used; the message is one sentence for the user.
    """
    text = read_metadata_text(path, METADATA_KEY)
    tensors = read_checkpoint(path, METADATA_KEY)[0] if text is None else {}
    return describe(tensors, text, path, overrides)


def assemble(
    tensors: dict[str, Tensor],
    metadata: ExpertMetadata,
    path: str | os.PathLike,
    text_encoder: str | os.PathLike | None = None,
    vae: str | os.PathLike | None = None,
) -> Expert:
    """The expert that a file's tensors and their description make; raises as `load_expert`."""
    channels = metadata.network.in_channels
    network_state, encoder_state = _split(tensors, metadata)
    return Expert(
        _build_network(metadata, network_state, path),
        Schedule.named(metadata.schedule),
        prediction_named(metadata.prediction),
        image_size=metadata.image_size,
        channels=channels,
        encoder=build_encoder(
            metadata.condition,
            metadata.image_size,
            channels,
            encoder_state,
            lambda: load_farl(path, text_encoder),
            metadata.downscale,
        ),
        name=metadata.name,
        clamp_x0=metadata.vae is None,
        downscale=metadata.downscale,
        load_vae=None if metadata.vae is None else partial(load_vae_of, path, metadata.vae, vae),
        metadata=metadata.to_dict(),
    )


def describe(
    tensors: dict[str, Tensor], text: str | None, path: str | os.PathLike, overrides: Overrides | None
) -> ExpertMetadata:
    """The description in a file's header, or what its tensors show where it has none.

    Args:
        tensors: The file's tensors, looked at where it has no description.
        text: The description, None for none.
        path: The file, for messages.
        overrides: Settings that are known better.

    Raises:
        CheckpointError: As `load_expert`.
    """
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
    kinds = tower_kinds(tensors)
    if kinds:
        raise CheckpointError(
            f"{name} is no diffusion expert but {' and '.join(kind.name for kind in kinds)}; choose an expert, and "
            "leave this file beside the experts that need it."
        )


def _split(tensors: dict[str, Tensor], metadata: ExpertMetadata) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of the network and of its encoder, each named as in its module."""
    kind = encoder_of_kind(metadata.condition)
    network = {name: tensor for name, tensor in tensors.items() if not name.startswith(kind.own_tensors)}
    encoder = {name.removeprefix(TEXT_PREFIX): tensor for name, tensor in tensors.items() if name not in network}
    return network, encoder | {name: network[name] for name in kind.shared_tensors if name in network}


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

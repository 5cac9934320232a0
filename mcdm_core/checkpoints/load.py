"""Expert files: safetensors whose header describes the network, or the same content saved by `torch.save`.

The header's metadata has one key, "mcdm", a JSON object (see `ExpertMetadata`). The network's tensors are named as in
`UNet`; those of a text encoder have the prefix "text_encoder.". Published files have no such header: they are
recognized from their tensors, among which GLIDE's text transformer has no prefix. Files are recognized by content,
never by extension, and nothing is unpickled.

A file is checked before anything is built from it: every field of its header has a type and a range (see
`system.fields`), its tensors must be those of the network it describes, and their sizes must add up to the file's.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..conditions import Encoder, build_encoder, encoder_of_kind
from ..conditions.captions import TEXT_PREFIX
from ..diffusion.prediction import prediction_named
from ..diffusion.schedule import Schedule
from ..expert import Expert
from ..networks import UNet
from ..networks.blank import without_weights
from ..system.shipped import expert_path
from .autoencoders import load_vae_of
from .contents import CheckpointError, Contents, Entry
from .metadata import METADATA_KEY, ExpertMetadata
from .recognition import Overrides, difference, recognize, shapes_of
from .safe_reading import open_checkpoint, read_tensors
from .text_tower import NAME as TEXT_TOWER
from .text_tower import holds_text_tower, load_farl
from .weights import in_halves, refuse_mixed_dtypes, refuse_not_finite, refuse_other_dtypes

logger = logging.getLogger(__name__)


def load_expert(
    path: str | os.PathLike,
    device: torch.device | str = "cpu",
    overrides: Overrides | None = None,
    text_encoder: str | os.PathLike | None = None,
    vae: str | os.PathLike | None = None,
    *,
    as_stored: bool = False,
) -> Expert:
    """Load an expert.

    A network that is stored in half precision becomes one in float32 on the CPU, which has no fast halves. All other
    tensors keep their dtype, and on the CPU they are the file's own, mapped into memory.

    Example:
        >>> expert = load_expert("hair")
        >>> expert.image_size, expert.encoder.kind
        (256, 'map')
        >>> expert = load_expert("models/mcdm/my_adm.pt", overrides=Overrides(schedule="cosine", num_head_channels=32))

    Args:
        path: A file written by `save_expert`, or a published one (see `recognition.published`); or the name of an
            expert that ships: "animals", "hair", "landscapes", "sketch", "skin" or "text".
        device: Where the network goes.
        overrides: Values that replace those of the file's header or those read from its tensors.
        text_encoder: FaRL's file, which the paper's face expert reads texts with; by default the one in the folder of
            `path` whose name begins with "FaRL". It is opened when the first text is encoded.
        vae: File of the VAE of an expert that makes latents; by default found near `path`, see `find_vae_of`. It is
            opened when the first picture is encoded or decoded.
        as_stored: Keep halves on the CPU too, for a network that computes elsewhere.

    Returns:
        The expert with its encoder, in evaluation mode, without gradients.

    Raises:
        CheckpointError: If the file is truncated, is no checkpoint, contains code, or its tensors don't fit or are not
            finite; a ValueError whose message is one sentence for the user.
        ValueError: If the overrides don't suit the expert.
        FileNotFoundError: If there is no such file, and no expert of that name.
    """
    path = expert_path(path)
    contents, metadata, network = _inspected(path, overrides)
    tensors = read_tensors(contents, path)
    refuse_not_finite(tensors, path)
    expert = _filled(network, tensors, metadata, path, text_encoder, vae).to(device)
    if not as_stored and torch.device(device).type == "cpu" and in_halves(expert.network):
        expert.network.float()
    logger.info("Loaded %r from %s", expert, path)
    return expert


def read_metadata(path: str | os.PathLike) -> ExpertMetadata:
    """The description in an expert file, or one recognized from its tensors.

    Only the file's header is read (see `open_checkpoint`); the tensors it lists are checked against the description.

    Example:
        >>> read_metadata("hair").schedule
        'cosine'

    Args:
        path: See `load_expert`.

    Raises:
        CheckpointError: If the file cannot be used; the message is one sentence for the user.
        FileNotFoundError: As `load_expert`.
    """
    return _inspected(expert_path(path))[1]


def read_encoder(path: str | os.PathLike, text_encoder: str | os.PathLike | None = None) -> Encoder:
    """The encoder of an expert file, without its network, in less than two seconds.

    Only tensors of the encoder are read, and of those only what identifies its conditions. Whether all weights are
    finite is checked only when the expert is loaded.

    Args:
        path: See `load_expert`.
        text_encoder: See `load_expert`.

    Raises:
        CheckpointError: As `load_expert`.
        FileNotFoundError: As `load_expert`.
    """
    path = expert_path(path)
    contents, metadata, _ = _inspected(path)
    _, state = _split(read_tensors(contents, path), metadata)
    return _build_encoder(metadata, state, path, text_encoder)


def _inspected(path: str | os.PathLike, overrides: Overrides | None = None) -> tuple[Contents, ExpertMetadata, UNet]:
    """A file's header, its description and the network on the meta device; refuses a misfit before reading tensors."""
    contents = open_checkpoint(path)
    metadata = describe(contents.entries, contents.texts.get(METADATA_KEY), path, overrides)
    return contents, metadata, _blank_network(metadata, contents.entries, path)


def assemble(tensors: dict[str, Tensor], metadata: ExpertMetadata, path: str | os.PathLike) -> Expert:
    """The expert of a file's tensors and their description; raises as `load_expert`."""
    return _filled(_blank_network(metadata, tensors, path), tensors, metadata, path, None, None)


def _filled(
    network: UNet,
    tensors: dict[str, Tensor],
    metadata: ExpertMetadata,
    path: str | os.PathLike,
    text_encoder: str | os.PathLike | None,
    vae: str | os.PathLike | None,
) -> Expert:
    """The expert of a network on the meta device, filled with tensors that fit it."""
    network_state, encoder_state = _split(tensors, metadata)
    network.load_state_dict(network_state, assign=True)
    return Expert(
        network.eval().requires_grad_(False),
        Schedule.named(metadata.schedule),
        prediction_named(metadata.prediction),
        image_size=metadata.image_size,
        channels=metadata.network.in_channels,
        encoder=_build_encoder(metadata, encoder_state, path, text_encoder),
        name=metadata.name,
        clamp_x0=metadata.vae is None,
        downscale=metadata.downscale,
        load_vae=None if metadata.vae is None else partial(load_vae_of, path, metadata.vae, vae),
        metadata=metadata.to_dict(),
    )


def _build_encoder(
    metadata: ExpertMetadata,
    state: Mapping[str, Tensor],
    path: str | os.PathLike,
    text_encoder: str | os.PathLike | None,
) -> Encoder:
    try:
        return build_encoder(
            metadata.condition,
            metadata.image_size,
            metadata.network.in_channels,
            state,
            lambda: load_farl(path, text_encoder),
            metadata.downscale,
        )
    except ValueError as error:
        raise CheckpointError(f"{Path(path).name} cannot be used: {error}") from None


def describe(
    tensors: Mapping[str, Tensor] | Mapping[str, Entry],
    text: str | None,
    path: str | os.PathLike,
    overrides: Overrides | None,
) -> ExpertMetadata:
    """The description in a file's header, or one recognized from its tensors where it has none.

    Args:
        tensors: The file's tensors, or their header entries.
        text: The description, None for none.
        path: The file, for messages.
        overrides: Values that replace the file's.

    Raises:
        CheckpointError: As `load_expert`.
        ValueError: If the overrides don't suit the expert.
    """
    name = Path(path).name
    if text is not None:
        with _usable(name):
            metadata = ExpertMetadata.from_json(text)
            metadata.check()
        metadata = overrides.apply(metadata) if overrides else metadata
    elif holds_text_tower(tensors):
        raise CheckpointError(
            f"{name} is no diffusion expert but {TEXT_TOWER}; choose an expert, and leave this file beside the experts "
            "that need it."
        )
    else:
        metadata = recognize(shapes_of(tensors), name, overrides)
    with _usable(name):
        metadata.check()
    return metadata


@contextmanager
def _usable(name: str) -> Iterator[None]:
    """Refuse the description in a file of this name by what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise CheckpointError(f"{name} has a description that cannot be used: {error}") from None


Kept = TypeVar("Kept")


def _split(tensors: Mapping[str, Kept], metadata: ExpertMetadata) -> tuple[dict[str, Kept], dict[str, Kept]]:
    """Tensors of the network and of its encoder, each named as in its module."""
    kind = encoder_of_kind(metadata.condition)
    network = {name: tensor for name, tensor in tensors.items() if not name.startswith(kind.own_tensors)}
    encoder = {name.removeprefix(TEXT_PREFIX): tensor for name, tensor in tensors.items() if name not in network}
    return network, encoder | {name: network[name] for name in kind.shared_tensors if name in network}


def _blank_network(
    metadata: ExpertMetadata, tensors: Mapping[str, Tensor] | Mapping[str, Entry], path: str | os.PathLike
) -> UNet:
    """The network on the meta device, after checking that the file's tensors fit it.

    Raises:
        CheckpointError: If the tensors differ from those the description needs, or have other dtypes than weights
            may have.
    """
    name = Path(path).name
    state: Mapping[str, Any] = _split(tensors, metadata)[0]
    if metadata.network.fewest_tensors > len(state):
        raise CheckpointError(
            f"{name} has {len(state)} tensors for its network, and num_res_blocks and channel_mult of its description "
            f"ask for {metadata.network.fewest_tensors} and more; download or export it again."
        )
    try:
        with without_weights():
            network = UNet(metadata.network)
    except (ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{name} describes a network that cannot be built ({error}); export it again.") from None
    if problem := difference(shapes_of(network.state_dict()), shapes_of(state), "the network's"):
        raise CheckpointError(
            f"{name} {problem}; it does not belong to the network its header describes, so download or export it again."
        )
    refuse_other_dtypes(tensors, name)
    refuse_mixed_dtypes(network, state, name)
    return network

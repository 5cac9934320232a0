"""Refuses configurations that could not be trained, before anything is drawn or read."""

from itertools import pairwise

import torch

from ..conditions.text import TextTower
from ..data.faces import IMAGE_SIZE
from ..experts import Expert
from ..networks.autoencoder import DOWNSCALE
from ..prediction import prediction_named
from .config import DataConfig, TrainingConfig
from .drawings import check_mixture
from .objective import trained_schedule
from .scenes import CLASSES
from .value_types import check_types

MODALITIES = {"faces": ("hair", "skin", "sketch", "text"), "landscapes": ("text",), "animals": ("class",)}
"""What each kind of drawn picture can be told by."""

_RESERVED = ("images", "captions", "auto")
_OF_SETS = {"seed", "count", "leading"}


def check_config(config: TrainingConfig) -> None:
    """Check that modalities, data and network fit each other.

    Raises:
        ValueError: They don't; one sentence says what to change.
    """
    if config.vae is not None:
        _check_latents(config)
        return
    if config.data.kind not in (*MODALITIES, "folder"):
        raise ValueError(
            f"Expected data of kind {', '.join(map(repr, MODALITIES))} or 'folder' and got {config.data.kind!r}; "
            "correct the name."
        )
    if config.data.kind == "folder" and not config.data.path:
        raise ValueError('Expected the folder\'s path in [data] and found none; add path = "…".')
    if config.data.kind in MODALITIES and config.image_size != IMAGE_SIZE:
        raise ValueError(
            f"{config.data.kind.capitalize()} are drawn at {IMAGE_SIZE} pixels, not at {config.image_size}; set "
            "image_size to that."
        )
    prediction_named(config.prediction)
    trained_schedule(config.schedule)
    _check_modalities(config)
    check_sets(config.data, config.report.held_out_count)
    _check_network(config)


def _check_latents(config: TrainingConfig) -> None:
    """What holds of networks that make latents, which so far have no condition."""
    check_mixture(config.data)
    prediction_named(config.prediction)
    trained_schedule(config.schedule)
    network = config.network
    if network.in_channels != network.out_channels or network.map_channels or network.patch != 1:
        raise ValueError(
            "A network of latents has as many channels out as in, no maps and a patch of 1, and [network] has "
            f"in_channels = {network.in_channels}, out_channels = {network.out_channels}, map_channels = "
            f"{network.map_channels} and patch = {network.patch}; correct them."
        )
    multiple = DOWNSCALE * 2 ** (len(network.channel_mult) - 1)
    if config.image_size % multiple:
        raise ValueError(
            f"A VAE and this network halve a picture down to a {multiple}th, and image_size = {config.image_size} is "
            f"no multiple of {multiple}; change image_size or channel_mult."
        )


def _check_modalities(config: TrainingConfig) -> None:
    modalities = config.data.modalities
    if len(set(modalities)) < len(modalities):
        raise ValueError(f"Expected each modality once and got {list(modalities)}; remove the repetition.")
    if config.data.kind == "folder" and "class" in modalities:
        raise ValueError('A folder has maps, sketches and captions and no "class"; remove it from modalities.')
    if reserved := [name for name in modalities if name in _RESERVED or "/" in name]:
        raise ValueError(f"{reserved[0]!r} cannot be the name of a modality; rename its subfolder.")
    known = MODALITIES.get(config.data.kind, modalities)
    if unknown := [name for name in modalities if name not in known]:
        raise ValueError(
            f"Drawn {config.data.kind} have the modalities {', '.join(known)} and not {unknown[0]!r}; "
            "choose among them."
        )
    if "text" in modalities and len(modalities) > 1:
        raise ValueError(
            f"A network that reads text reads nothing else here, and the modalities are {list(modalities)}; train one "
            "expert for text and one for the rest, and unite them."
        )
    if "text" in modalities and config.data.kind != "landscapes" and not config.data.text_encoder:
        raise ValueError('The modality "text" needs a dual encoder; train one and name its file in text_encoder.')


def check_sets(data: DataConfig, held_out: int) -> None:
    """Check what belongs to single modalities: those that are trained, and sets of their own.

    Args:
        data: The section.
        held_out: How many pictures behind each set are held out.

    Raises:
        ValueError: They don't fit the modalities.
    """
    if strangers := [name for name in data.trained if name not in data.modalities]:
        raise ValueError(
            f"Only what is among the modalities can be trained, and {strangers[0]!r} isn't; add it to modalities, or "
            "remove it from trained."
        )
    if not data.sets:
        return
    if data.kind != "faces" or "text" in data.modalities:
        raise ValueError("Only maps of drawn faces have a set for each modality; remove [data.sets].")
    if data.sets.keys() != set(data.modalities):
        raise ValueError(
            f"The modalities are {list(data.modalities)} and [data.sets] has sets for {list(data.sets)}; give each a "
            "set, or none."
        )
    for name, values in data.sets.items():
        if unknown := sorted(values.keys() - _OF_SETS):
            raise ValueError(f"[data.sets.{name}] has unknown names {unknown}; known are {sorted(_OF_SETS)}.")
        check_types(DataConfig, values, f"[data.sets.{name}]")
        if "seed" not in values:
            raise ValueError(
                f"[data.sets.{name}] has no seed, and without one of its own it would share its pictures; add seed = "
                "…, far from the other sets'."
            )
    _check_apart([data.of(name) for name in data.sets], held_out)


def _check_apart(sets: list[DataConfig], held_out: int) -> None:
    """No picture is trained on with more than one of its maps, nor held out of one set and trained on in another."""
    for one, other in pairwise(sorted(sets, key=lambda data: data.seed)):
        end = one.seed + one.count + held_out
        if other.seed < end:
            raise ValueError(
                f"[data.sets.{one.modalities[0]}] takes the seeds {one.seed} to {end - 1}, the last {held_out} of them "
                f"held out, and [data.sets.{other.modalities[0]}] begins at {other.seed}; move its seed to {end} or "
                "further."
            )


def _check_network(config: TrainingConfig) -> None:
    network, modalities = config.network, config.data.modalities
    maps = [name for name in modalities if name not in ("text", "class")]
    if network.map_channels != len(maps):
        raise ValueError(
            f"The modalities {list(modalities)} need {len(maps)} map channels and [network] has "
            f"{network.map_channels}; set map_channels = {len(maps)}."
        )
    if (network.pooled_dim is not None) != ("text" in modalities):
        remedy = "add it, the length of the dual encoder's embedding" if "text" in modalities else "remove it"
        raise ValueError(f"The modalities are {list(modalities)} and pooled_dim is {network.pooled_dim}; {remedy}.")
    classes = len(CLASSES) if "class" in modalities else None
    if network.num_classes != classes:
        remedy = "remove num_classes" if classes is None else f"set num_classes = {classes}"
        raise ValueError(f"The modalities are {list(modalities)} and num_classes is {network.num_classes}; {remedy}.")
    if network.film_dim is not None:
        raise ValueError("film_dim belongs to networks that are not trained here; remove it.")
    if (network.in_channels, network.out_channels) != (3, 3):
        raise ValueError(
            f"Pictures have 3 channels and the variance is not learned, but [network] has in_channels = "
            f"{network.in_channels} and out_channels = {network.out_channels}; set both to 3."
        )
    multiple = network.patch * 2 ** (len(network.channel_mult) - 1)
    if config.image_size % multiple:
        raise ValueError(
            f"This network halves its picture down to a {multiple}th, and image_size = {config.image_size} is no "
            f"multiple of {multiple}; change image_size, patch or channel_mult."
        )


def check_embedding(config: TrainingConfig, dim: int) -> None:
    """Check that the network takes embeddings of length `dim`.

    Raises:
        ValueError: It takes others.
    """
    if config.network.pooled_dim != dim:
        raise ValueError(
            f"The dual encoder's embeddings have length {dim} and [network] has pooled_dim = "
            f"{config.network.pooled_dim}; set pooled_dim = {dim}."
        )


def check_tower(expert: Expert, tower: TextTower) -> None:
    """Check that an expert to go on from was trained with this text tower; every dual encoder has a space of its own.

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
    """Whether two towers are the same, in the half precision that expert files keep them in."""
    one, other = ({key: value.half() for key, value in t.state_dict().items()} for t in (stored, tower))
    return one.keys() == other.keys() and all(
        one[key].shape == other[key].shape and torch.equal(one[key], other[key]) for key in one
    )

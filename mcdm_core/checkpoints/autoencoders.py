"""Files of VAEs: safetensors with the keys and shapes of TAESD, which ComfyUI's own VAE loader opens.

A narrow network is written 64 channels wide, its added channels zeros: the identities and rectifiers between the
convolutions keep zeros, so the wide network computes the same as the narrow one. The header's metadata has one key,
"mcdm_vae", with the widths of the trained part: `load_autoencoder` builds only that part, which costs much less.

An expert that makes latents names its VAE by `encoder_key`, by which `find_vae_of` finds the file.
"""

import copy
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from ..networks.autoencoder import LEVELS, WIDTH, Autoencoder, AutoencoderConfig, LatentNorm
from ..system.fields import shown
from ..system.formats import write_tensors
from .contents import CheckpointError
from .json_text import parse_json
from .recognition import difference, shapes_of
from .safe_reading import open_checkpoint, read_checkpoint
from .weights import refuse_not_finite, refuse_other_dtypes, refuse_spoiled

METADATA_KEY = "mcdm_vae"
FORMAT = 1

_VAE_FOLDER = "vae"  # beside a folder of experts
_MAX_DEPTH = 32  # levels of the description's JSON, including a free card
_PREFIX = "taesd_"  # of the names in a file
_MOST_LATENT_CHANNELS = 128
_SCALE = {"vae_scale": 1.0, "vae_shift": 0.0}  # TAESD's, from its own latents to a diffusion model's


@torch.no_grad()
def folded(autoencoder: Autoencoder) -> Autoencoder:
    """The same network with the norm of its latents moved into the encoder's last convolution.

    Args:
        autoencoder: A network as it was trained; one without a norm is copied.

    Returns:
        A copy whose norm is the identity; its encoder computes the same as the original's in evaluation mode.
    """
    plain = copy.deepcopy(autoencoder)
    norm, last = plain.norm, plain.encoder[-1]
    if isinstance(norm, LatentNorm) and isinstance(last, nn.Conv2d):
        assert last.bias is not None
        factor = 1 / norm.deviation.double()
        last.weight.copy_(last.weight * factor.view(-1, 1, 1, 1))
        last.bias.copy_((last.bias - norm.mean.double()) * factor)
        plain.norm = nn.Identity()
    return plain


@torch.no_grad()
def resized(autoencoder: Autoencoder, widths: tuple[int, ...]) -> Autoencoder:
    """The same network with other widths: added channels are zeros, channels beyond the new width are left out.

    Its outputs stay the same as long as the channels left out are such zeros.

    Args:
        autoencoder: A network whose norm is folded.
        widths: Channels of each level, the finest first.
    """
    result = Autoencoder(AutoencoderConfig(widths, autoencoder.config.latent_channels))
    result.norm = nn.Identity()
    sources = dict(autoencoder.named_parameters())
    for name, target in result.named_parameters():
        source = sources[name]
        shared = tuple(slice(min(own, other)) for own, other in zip(source.shape, target.shape, strict=True))
        target.zero_()[shared] = source[shared]
    return result.to(sources["decoder.1.weight"].dtype).eval().requires_grad_(False)


def save_autoencoder(path: str | os.PathLike, autoencoder: Autoencoder, card: dict | None = None) -> None:
    """Write a VAE in half precision.

    Args:
        path: File to write; it appears only when complete.
        autoencoder: The network as it was trained.
        card: Model card: data, licence, steps, …; plain values.

    Raises:
        ValueError: It has a weight that is no finite number in half precision, as where a channel of the latents never
            varies; nothing was written.
        WriteError: It could not be written; what the file held before is unchanged.
    """
    wide = resized(folded(autoencoder), (WIDTH,) * LEVELS)
    tensors = {_PREFIX + name: tensor.half() for name, tensor in wide.state_dict().items()}
    tensors |= {name: torch.tensor(value).half() for name, value in _SCALE.items()}
    try:
        refuse_spoiled(tensors, Path(path).name)
    except CheckpointError as error:
        raise ValueError(f"Expected a VAE that can be loaded again, and nothing was written: {error}") from None
    header = {"format": FORMAT, "widths": list(autoencoder.config.widths), "card": card or {}}
    write_tensors(path, tensors, {METADATA_KEY: json.dumps(header)})


def load_autoencoder(path: str | os.PathLike) -> Autoencoder:
    """A VAE from its file: on the CPU, in float32, in evaluation mode, without gradients, its norm folded.

    Example:
        >>> vae = load_autoencoder("vae/mcdm_vae.safetensors")
        >>> latents = vae.encode(pictures)  # (B, 3, 256, 256) in −1…1 to (B, 4, 32, 32)

    Args:
        path: A file of `save_autoencoder`, or any of TAESD's keys and shapes, both halves in one file.

    Raises:
        CheckpointError: The file is damaged, or is no such VAE.
        FileNotFoundError: There is no such file.
    """
    tensors, text = read_checkpoint(path, METADATA_KEY)
    name = Path(path).name
    refuse_other_dtypes(tensors, name)
    state = _network_state(tensors, name)
    wide = Autoencoder(AutoencoderConfig(latent_channels=state["decoder.1.weight"].shape[1]))
    wide.norm = nn.Identity()
    if problem := difference(shapes_of(wide.state_dict()), shapes_of(state), "the VAE's"):
        raise CheckpointError(f"{name} {problem}; it is no VAE that can be used here, so choose another file.")
    refuse_not_finite(state, path)
    wide.load_state_dict(state)
    return resized(wide, _widths(text, name))


def encoder_key(autoencoder: Autoencoder) -> str:
    """Twelve hexadecimal digits that identify an encoder, as loaded from its file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(autoencoder.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.half().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_vae_of(expert: str | os.PathLike, key: str, vae: str | os.PathLike | None = None) -> Autoencoder:
    """Load the VAE of an expert.

    Args:
        expert: The expert's file.
        key: `encoder_key` of the VAE, from the expert's header.
        vae: The VAE's file; None for the one that `find_vae_of` finds.

    Raises:
        CheckpointError: There is none, it cannot be used, or it is another VAE.
    """
    if vae is None:
        return load_autoencoder(find_vae_of(expert, key))
    autoencoder = load_autoencoder(vae)
    if encoder_key(autoencoder) != key:
        raise CheckpointError(
            f"{Path(expert).name} makes latents of the VAE {key} and {Path(vae).name} makes other ones; choose the "
            "VAE that came with the expert."
        )
    return autoencoder


def find_vae_of(expert: str | os.PathLike, key: str, further: Iterable[str | os.PathLike] = ()) -> Path:
    """Find the VAE of an expert by its encoder's weights; its file may have any name.

    Args:
        expert: The expert's file.
        key: `encoder_key` of the VAE, from the expert's header.
        further: More candidates, beside the files in the expert's folder and in a folder "vae" in or beside it. Of VAEs
            that `save_autoencoder` did not write, only the header is read.

    Raises:
        CheckpointError: There is none, and where a candidate cannot be used, why.
    """
    others, damaged = [], None
    near = [*_files_near(Path(expert)), *(Path(path).resolve() for path in further)]
    for path in filter(Path.is_file, dict.fromkeys(near)):  # neither folders nor links to what is gone
        try:
            candidate = key_of_vae(path)
        except (CheckpointError, OSError) as error:
            damaged = damaged or error
            continue
        if candidate == key:
            return path
        if candidate is not None:
            others.append(path.name)
    if isinstance(damaged, OSError):
        raise CheckpointError(f"{damaged.filename} may be the VAE of {Path(expert).name}, but {damaged.strerror}.")
    if damaged is not None:
        raise damaged
    besides = f" (other VAEs are there: {', '.join(others)})" if others else ""
    raise CheckpointError(
        f"{Path(expert).name} makes latents of a VAE ({key}) that is not there; put its file into the expert's "
        f'folder, or into a folder "{_VAE_FOLDER}" beside it{besides}.'
    )


def _files_near(expert: Path) -> Iterator[Path]:
    own = expert.resolve().parent
    for folder in (own, own / _VAE_FOLDER, own.parent / _VAE_FOLDER):
        yield from sorted(folder.glob("*.safetensors"))


def key_of_vae(path: Path) -> str | None:
    """`encoder_key` of a VAE that `save_autoencoder` wrote; None for any other file, of which only the header is read.

    Raises:
        CheckpointError: It is such a VAE but cannot be used.
    """
    status = path.stat()
    return _read_key(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)  # graphs look at every run
def _read_key(path: Path, modified: int, size: int) -> str | None:
    try:
        ours = METADATA_KEY in open_checkpoint(path).texts
    except CheckpointError:  # no VAE of ours
        return None
    return encoder_key(load_autoencoder(path)) if ours else None


def _network_state(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors by their names in `Autoencoder`; refuses a scale or shift other than `_SCALE`."""
    state = {
        key.removeprefix(_PREFIX): tensor
        for key, tensor in tensors.items()
        if key.startswith((f"{_PREFIX}encoder.", f"{_PREFIX}decoder."))
    }
    latents = state.get("decoder.1.weight")
    if latents is None or latents.ndim != 4 or not 1 <= latents.shape[1] <= _MOST_LATENT_CHANNELS:
        raise CheckpointError(f"{name} is no VAE of TAESD's layers; choose one that a [autoencoder] run has written.")
    if any(not (tensors.get(key, torch.tensor(value)) == value).all() for key, value in _SCALE.items()):
        raise CheckpointError(f"{name} scales its latents, and here they are used as they are; choose another file.")
    return state


def _widths(text: str | None, name: str) -> tuple[int, ...]:
    """Widths of the trained part; full width where the file has no description."""
    if text is None:
        return (WIDTH,) * LEVELS
    try:
        header = parse_json(text, _MAX_DEPTH)
        if header["format"] == FORMAT:
            return AutoencoderConfig(tuple(header["widths"])).widths
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name} has a description that cannot be used ({error}); write it again.") from None
    raise CheckpointError(
        f"{name} is of format {shown(header['format'])} and this version reads format {FORMAT}; update the pack."
    )

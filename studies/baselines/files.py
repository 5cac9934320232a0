"""Files of generators: safetensors whose header describes the network."""

import json
import os
from pathlib import Path

import torch
from torch import Tensor

from mcdm_core.checkpoints import CheckpointError, read_checkpoint
from mcdm_core.checkpoints.recognition import difference, shapes_of
from mcdm_core.system.formats import write_tensors

from .generator import Generator, GeneratorConfig

METADATA_KEY = "mcdm_gan"
FORMAT = 1


def save_gan(path: str | os.PathLike, generator: Generator, card: dict | None = None) -> None:
    """Write a generator in half precision.

    Args:
        path: File to write; it appears only when complete.
        generator: Its weights and its architecture.
        card: Model card: data, licence, steps, …; plain values.
    """
    header = {"format": FORMAT, "generator": generator.config.to_dict(), "card": card or {}}
    tensors = {name: tensor.half() for name, tensor in generator.state_dict().items()}
    write_tensors(path, tensors, {METADATA_KEY: json.dumps(header)})


def load_gan(path: str | os.PathLike) -> Generator:
    """A generator from its file: on the CPU, in float32, in evaluation mode.

    Raises:
        CheckpointError: The file is damaged, holds no generator, or its tensors don't fit its header.
        FileNotFoundError: There is no such file.
    """
    tensors, text = read_checkpoint(path, METADATA_KEY)
    config = _read_header(text, Path(path).name)
    with torch.device("meta"):
        generator = Generator(config)
    _check_tensors(generator, tensors, Path(path).name)
    generator.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return generator.eval().requires_grad_(False)


def _read_header(text: str | None, name: str) -> GeneratorConfig:
    if text is None:
        raise CheckpointError(
            f"{name} is no generator of a GAN; choose one that `python -m studies train` wrote of a [gan] "
            "configuration."
        )
    try:
        header = json.loads(text)
        if header["format"] == FORMAT:
            return GeneratorConfig.from_dict(header["generator"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{name} has a description that cannot be used ({error}); train it again.") from None
    raise CheckpointError(
        f"{name} is of format {header['format']} and this version reads format {FORMAT}; update the pack."
    )


def _check_tensors(generator: Generator, tensors: dict[str, Tensor], name: str) -> None:
    if problem := difference(shapes_of(generator.state_dict()), shapes_of(tensors), "the generator's"):
        raise CheckpointError(f"{name} {problem}; it does not belong to its header, so download or train it again.")

"""Files of generators: safetensors whose header describes the network."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

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
    header = {"format": FORMAT, "generator": asdict(generator.config), "card": card or {}}
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
    if problem := difference(shapes_of(generator.state_dict()), shapes_of(tensors), "the generator's"):
        raise CheckpointError(
            f"{Path(path).name} {problem}; it does not belong to its header, so download or train it again."
        )
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
            values = header["generator"].items()
            settings: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values}
            return GeneratorConfig(**settings)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{name} has a description that cannot be used ({error}); train it again.") from None
    raise CheckpointError(
        f"{name} is of format {header['format']} and this version reads format {FORMAT}; update the pack."
    )

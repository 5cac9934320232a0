"""`python -m mcdm_core info` and `convert`: what an expert file is, and the same content as safetensors."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .checkpoints import load_expert, read_metadata, save_expert


def info(argv: Sequence[str] | None = None) -> None:
    """Print what expert files were recognized as.

    Raises:
        ValueError: A file cannot be used as an expert; the files before it are printed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mcdm_core info", description="Print what expert files were recognized as."
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="expert file")
    for file in parser.parse_args(argv).files:
        sys.stdout.write(describe(file) + "\n")


def describe(file: Path) -> str:
    """Describe an expert file in a few lines.

    Raises:
        ValueError: It cannot be used as an expert.
    """
    expert = load_expert(file)
    metadata = read_metadata(file)
    parameters = sum(parameter.numel() for parameter in expert.network.parameters())
    condition = " ".join(value for value in metadata.condition.values() if isinstance(value, str))
    lines = [
        f"{file}: expert {metadata.name!r}",
        f"  condition   {condition}",
        f"  samples     {expert.channels} × {metadata.image_size} × {metadata.image_size}",
        f"  network     {parameters / 1e6:.2f} million parameters",
        f"  trained on  {metadata.schedule} schedule, {metadata.prediction}-prediction",
    ]
    width = max([len(key) for key in metadata.card], default=0)
    lines += [f"  {key:{width}}  {value}" for key, value in metadata.card.items()]
    return "\n".join(lines)


def convert(argv: Sequence[str] | None = None) -> None:
    """Write an expert file again as safetensors.

    Raises:
        ValueError: The source cannot be used as an expert, or the target exists or has another ending.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mcdm_core convert", description="Write an expert file again as safetensors."
    )
    parser.add_argument("source", type=Path, help="expert file, .pt or .safetensors")
    parser.add_argument("target", type=Path, help="file to write, *.safetensors")
    options = parser.parse_args(argv)
    if options.target.suffix != ".safetensors":
        raise ValueError(f"The target should end in .safetensors, but it is {options.target}; rename it.")
    if options.target.exists():
        raise ValueError(f"{options.target} exists already; remove it first or choose another name.")
    expert = load_expert(options.source)
    save_expert(options.target, expert.network, read_metadata(options.source), getattr(expert.encoder, "tower", None))

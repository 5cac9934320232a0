"""`python -m mcdm_core info` and `convert`: describe a file, or write it again as safetensors with a description."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..checkpoints import convert_expert, load_expert, load_text_tower
from ..checkpoints.recognition import Overrides
from ..checkpoints.safe_reading import read_checkpoint
from ..checkpoints.text_tower import NAME as TEXT_TOWER
from ..checkpoints.text_tower import holds_text_tower
from ..conditions.class_names import FEW
from ..diffusion.prediction import PREDICTIONS
from ..system.fields import printable
from ..system.shipped import expert_path
from .output import add_overwrite, check_folder, check_free


def info(argv: Sequence[str] | None = None) -> None:
    """Print what files were recognized as.

    Raises:
        ValueError: A file cannot be used; the files before it are printed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mcdm_core info", description="Print what files of experts and encoders were recognized as."
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a shipped expert's name, or a file")
    _add_overrides(parser)
    options = parser.parse_args(argv)
    for file in options.files:
        sys.stdout.write(describe(file, _overrides(options)) + "\n")


def describe(file: Path, overrides: Overrides | None = None) -> str:
    """Describe a file in a few lines.

    Args:
        file: File of an expert, or of FaRL; or the name of an expert that ships.
        overrides: Values that replace the recognized ones.

    Raises:
        ValueError: It cannot be used.
    """
    file = expert_path(file)
    if holds_text_tower(read_checkpoint(file)[0]):
        return f"{file}: {TEXT_TOWER}\n  {_millions(load_text_tower(file).state_dict())} million parameters"
    expert = load_expert(file, overrides=overrides)
    metadata = expert.metadata
    said = " ".join(
        _listed(value) if isinstance(value, list) else value
        for value in metadata["condition"].values()
        if isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
    )
    condition = printable(said)  # entries that no field declares may be in it
    side = expert.image_size
    latents = f", latents of pictures of {side} × {side}" if expert.downscale > 1 else ""
    lines = [
        f"{file}: expert {expert.name!r}",
        f"  condition   {condition}",
        f"  samples     {' × '.join(map(str, expert.sample_shape))}{latents}",
        f"  network     {_millions(expert.network.state_dict())} million parameters",
        f"  trained on  {metadata['schedule']} schedule, {metadata['prediction']}-prediction",
    ]
    width = max([len(key) for key in metadata["card"]], default=0)
    lines += [f"  {key:{width}}  {printable(value)}" for key, value in metadata["card"].items()]
    return "\n".join(lines)


def _listed(names: list[str]) -> str:
    """All names if they are few, else the first and their number."""
    return " ".join(names) if len(names) <= FEW else f"{' '.join(names[:3])} … ({len(names)})"


def _millions(state: dict) -> str:
    return f"{sum(tensor.numel() for tensor in state.values()) / 1e6:.2f}"


def convert(argv: Sequence[str] | None = None) -> None:
    """Write an expert file again as safetensors.

    Raises:
        ValueError: The source cannot be used as an expert, or the target exists, has another suffix or is in a folder
            that doesn't exist.
        WriteError: The target could not be written; what it held before is unchanged.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mcdm_core convert",
        description="Write an expert file again as safetensors that says what it is. Options replace what was "
        "recognized, and say of a network of your own what its tensors don't tell.",
    )
    parser.add_argument("source", type=Path, help="expert file, .pt or .safetensors, or a shipped expert's name")
    parser.add_argument("target", type=Path, help="file to write, *.safetensors")
    add_overwrite(parser)
    _add_overrides(parser)
    options = parser.parse_args(argv)
    if options.target.suffix != ".safetensors":
        raise ValueError(f"The target should end in .safetensors, but it is {options.target}; rename it.")
    check_folder(options.target.parent)
    check_free(options.target, options.overwrite)
    convert_expert(options.source, options.target, _overrides(options))


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add an option for every field of `Overrides`."""
    parser.add_argument("--schedule", help="noise schedule: linear, cosine or squaredcos_cap_v2")
    parser.add_argument("--prediction", help=f"what the network predicts: {', '.join(PREDICTIONS)}")
    parser.add_argument("--image-size", type=int, help="height and width in pixels")
    parser.add_argument("--num-heads", type=int, help="attention heads at every level")
    parser.add_argument("--num-head-channels", type=int, help="channels per attention head")
    parser.add_argument(
        "--new-attention-order", action=argparse.BooleanOptionalAction, default=None, help="split q, k, v before heads"
    )
    parser.add_argument("--text-heads", type=int, help="attention heads of GLIDE's text transformer")
    parser.add_argument(
        "--maps", type=lambda names: tuple(names.split(",")), help="the face network's maps in its order: hair,face"
    )


def _overrides(options: argparse.Namespace) -> Overrides:
    names = Overrides.__dataclass_fields__
    return Overrides(**{name: value for name, value in vars(options).items() if name in names})

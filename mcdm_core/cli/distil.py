"""`python -m mcdm_core distil`: save a product as a LoRA. Needs `requirements-train.txt`."""

from collections.abc import Sequence
from pathlib import Path

from .train import run_training


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m mcdm_core distil CONFIG`: train a LoRA on what several experts answer together."""
    run_training("python -m mcdm_core distil", _distil, argv)


def _distil(config_path: Path, runs: Path, resume: str | None, overwrite: bool) -> Path:
    from ..distil.command import distil

    return distil(config_path, runs, resume, overwrite)

"""`python -m mcdm_core distil`: save a product as a LoRA. Needs `requirements-train.txt`."""

from collections.abc import Sequence

from ..distil.command import distil
from .train import run_training


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m mcdm_core distil CONFIG`: train a LoRA on what several experts answer together."""
    run_training("python -m mcdm_core distil", distil, argv)

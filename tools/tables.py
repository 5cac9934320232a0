"""`python -m tools tables`: every table and figure of docs/results.md, from the experts that the clone holds."""

import argparse
from pathlib import Path

from .commands import run
from .environment import ROOT, ensure_environment

RESULTS = ROOT / "docs" / "results"


def tables(arguments: list[str]) -> int:
    """Evaluate everything in configs/evaluate/ into docs/results/.

    Args:
        arguments: Passed on to `evaluate`; a quick look needs an `--out` of its own.

    Returns:
        0, or the exit code of the first step that failed.
    """
    parser = argparse.ArgumentParser(prog="python -m tools tables", description=tables.__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="gets a folder for each evaluation")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.out == RESULTS:
        parser.error(f"{' '.join(rest)} would change what docs/results/ shows; add --out with another folder")
    python = ensure_environment(".venv-tables", ["requirements-train.txt"])
    evaluate: list[str | Path] = [python, "-m", "mcdm_core", "evaluate"]
    configs = sorted((ROOT / "configs" / "evaluate").glob("*.toml"))
    code = run([*evaluate, *configs, "--out", options.out, *rest])
    return code or run([*evaluate, "product-bias", "--out", options.out / "product_bias"])

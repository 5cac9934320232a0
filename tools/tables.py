"""`python -m tools tables`: every table and figure of studies/results.md, from the networks that the clone holds."""

import argparse
import shutil
from pathlib import Path

from .environment import ROOT, ensure_environment
from .process import run

CONFIGS = ROOT / "studies" / "configs"
NETWORKS = CONFIGS / "tables" / "networks"
RESULTS = ROOT / "studies" / "results"
TRAINED = ("hair", "skin", "joint", "finetuned", "uniform", "gan")  # in this order: finetuned begins with hair


def tables(arguments: list[str]) -> int:
    """Evaluate what studies/configs/evaluate/ has into studies/results/, as far as it asks for no network in runs/.

    Args:
        arguments: `--train` trains the networks of studies/configs/tables/ before, as far as they are not trained in
            runs/; `--ray` draws on a cluster; all else is passed on to `evaluate`. A quick look needs an `--out` of its
            own.

    Returns:
        0, or the exit code of the first step that failed.
    """
    parser = argparse.ArgumentParser(prog="python -m tools tables", description=tables.__doc__)
    parser.add_argument(
        "--train",
        action="store_true",
        help="train the networks first, going on where that stopped; replaces those beside their configurations",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="gets a folder for each evaluation")
    parser.add_argument("--ray", metavar="HOST:PORT", help="draw on all machines of this Ray cluster")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.out.resolve() == RESULTS.resolve():
        parser.error(f"{' '.join(rest)} would change what studies/results/ shows; add --out with another folder")
    if options.ray:
        python = ensure_environment(".venv-tables-ray", ["requirements-train.txt", "requirements-hosts.txt"])
    else:
        python = ensure_environment(".venv-tables", ["requirements-train.txt"])
    studies: list[str | Path] = [python, "-m", "studies"]
    if options.train and (code := _train(studies)):
        return code
    configs = [
        path
        for path in sorted((CONFIGS / "evaluate").glob("*.toml"))
        if "/runs/" not in path.read_text(encoding="utf-8")  # of trials, whose networks no clone has
    ]
    spread = ["--ray", options.ray] if options.ray else []
    code = run([*studies, "evaluate", *configs, "--out", options.out, *spread, *rest])
    return code or run([*studies, "evaluate", "product-bias", "--out", options.out / "product_bias"])


def _train(studies: list[str | Path]) -> int:
    for config in (CONFIGS / "pixels" / "start.toml", *(CONFIGS / "tables" / f"{name}.toml" for name in TRAINED)):
        if code := run([*studies, "train", config, "--resume"]):
            return code
    NETWORKS.mkdir(exist_ok=True)
    for name in TRAINED:
        trained = ROOT / "runs" / f"table-{name}" / f"table-{name}.safetensors"
        _replace(NETWORKS / f"{name}.safetensors", trained)
    return 0


def _replace(target: Path, source: Path) -> None:
    """Copy a file, so that what is replaced stays until the copy is whole."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)

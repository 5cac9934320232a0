"""Measurements of experts and their products. Needs `requirements-train.txt`."""

import argparse
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mcdm_core.cli.values import positive, whole

from ..files import check_folder_name

if TYPE_CHECKING:
    from .run import Evaluation
    from .sampling import Drawer

log = logging.getLogger(__name__)

TRAINED = (
    "train-mouth-reader",
    "train-animal-reader",
    "train-features",
    "train-face-reader",
    "train-whole-animal-reader",
)
BIAS = "product-bias"
VAE = "vae"
PREVIEW = "preview"
SHEET = "sheet"
MODULES = {BIAS: "bias", VAE: "reconstructions", PREVIEW: "preview", SHEET: "sheet"}  # whose `main` is that command
MOST_WORKERS = 61  # the most processes of a pool on Windows
EXAMPLE = """examples:
  python -m studies evaluate studies/configs/evaluate/maps256.toml
  python -m studies evaluate studies/configs/evaluate/*.toml --count 8 --steps 5    a quick look at all of them
"""


def main(argv: Sequence[str]) -> int:
    """`python -m studies evaluate CONFIG`: sample held-out conditions, measure what the pictures show."""
    if argv and argv[0] in MODULES:
        command: Callable[[Sequence[str]], int] = import_module(f".{MODULES[argv[0]]}", __package__).main
        return command(argv[1:])
    parser = argparse.ArgumentParser(
        prog="python -m studies evaluate",
        description=main.__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        nargs="+",
        help="TOML files, see studies/configs/evaluate/ and studies/evaluation.md; "
        f"or {BIAS}: closed forms beside samples of Gaussian experts; "
        f"or {VAE} and its file: what a VAE loses of drawings; "
        f"or {PREVIEW} and the same file: the colours of its latents; "
        f"or {SHEET} and a TOML file: the first samples of a setting; "
        f"or one of {', '.join(TRAINED)}: the networks that read pictures",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="gets a folder for each TOML file")
    parser.add_argument("--samples", type=Path, default=Path("runs/samples"), help="keeps samples for later runs")
    parser.add_argument("--count", type=positive, default=0, help="pictures a setting at most, for a quick look")
    parser.add_argument("--steps", type=positive, default=0, help="DDIM steps at most, for a quick look")
    parser.add_argument(
        "--workers", type=whole(1, MOST_WORKERS), default=min(os.cpu_count() or 1, MOST_WORKERS), help="processes"
    )
    parser.add_argument(
        "--ray", metavar="HOST:PORT", help="draw on all machines of this Ray cluster, in place of --workers processes"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if trained := [what for what in arguments.what if what in TRAINED]:
        if len(trained) < len(arguments.what):
            parser.error(f"{trained[0]} is trained alone; evaluate the files in a run of their own")
        for what in trained:
            log.info("Wrote %s", _train(what))
        return 0
    with _drawer(arguments) as workers:
        # All are checked before the first is sampled, which may take hours.
        evaluations = [_evaluation(path, arguments, workers) for path in _expanded(arguments.what)]
        for evaluation in evaluations:
            written = evaluation.run()
            log.info("Wrote %s\n%s", written, written.read_text(encoding="utf-8"))
    return 0


@contextmanager
def _drawer(arguments: argparse.Namespace) -> "Iterator[int | Drawer]":
    """The number of processes that draw the samples, or the cluster that does."""
    if not arguments.ray:
        yield arguments.workers
        return
    from .on_ray import RayCluster

    with RayCluster(arguments.ray) as cluster:
        yield cluster.draw


def _expanded(names: Sequence[str]) -> list[Path]:
    """Expand patterns of files, which a shell of Windows does not.

    Raises:
        ValueError: A pattern matches no file, or two files would write the same folder.
    """
    paths = []
    for name in names:
        found = sorted(Path(name).parent.glob(Path(name).name)) if "*" in name else [Path(name)]
        if not found:
            raise ValueError(f"Expected TOML files at {name} and found none; correct the path.")
        paths += found
    stems = [path.stem for path in paths]
    if repeated := [stem for stem in dict.fromkeys(stems) if stems.count(stem) > 1]:
        raise ValueError(f"Several files are named {repeated[0]}, and each writes a folder of its name; rename one.")
    return paths


def _evaluation(path: Path, arguments: argparse.Namespace, workers: "int | Drawer") -> "Evaluation":
    from .config import load_evaluation
    from .run import Evaluation

    for folder in (arguments.out, arguments.out / path.stem, arguments.samples):
        check_folder_name(folder)
    config = load_evaluation(path, arguments.count, arguments.steps)
    return Evaluation(config, arguments.out / path.stem, arguments.samples, workers)


def _train(what: str) -> Path:
    from . import animals, face_reader, features, mouth, whole_animals

    trainings: tuple[Callable[[], Path], ...] = (
        mouth.train_mouth_reader,
        animals.train_animal_reader,
        features.train_features,
        face_reader.train_face_reader,
        whole_animals.train_whole_animal_reader,
    )
    return dict(zip(TRAINED, trainings, strict=True))[what]()

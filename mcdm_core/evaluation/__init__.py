"""Measurements on held-out faces and scenes. Needs `requirements-train.txt`."""

import argparse
import json
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """`python -m mcdm_core evaluate WHAT`: sample held-out conditions and measure what the pictures show."""
    parser = argparse.ArgumentParser(prog="python -m mcdm_core evaluate", description=main.__doc__)
    parser.add_argument(
        "what",
        choices=[
            *("maps", "captions", "sketches", "scenes"),
            *("choose-map-weight", "choose-text-weight", "choose-scene-weight"),
            *("train-mouth-reader", "train-animal-reader", "train-features"),
        ],
        help="maps: hair + skin united, each alone, w = 1, and maps of two faces; captions: a caption with the maps of "
        "another face, and alone; sketches: the sketch expert alone; scenes: an animal and a landscape united, each "
        "alone, and at three reliabilities; choose-…: weights on validation faces or scenes; train-mouth-reader, "
        "train-animal-reader: the classifiers that read them; train-features: the feature network of drawings",
    )
    parser.add_argument("--experts", type=Path, default=Path(__file__).resolve().parents[2] / "experts")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--count", type=int, default=200, help="held-out faces or scenes")
    parser.add_argument("--steps", type=int, default=100, help="DDIM steps")
    parser.add_argument("--eta", type=float, default=0.0, help="η of DDIM; 0 is its ODE, 1 ancestral sampling")
    parser.add_argument("--map-weight", type=float, default=2.0, help="w of each map expert")
    parser.add_argument("--text-weight", type=float, default=3.0, help="w of the text expert beside maps")
    parser.add_argument("--text-alone-weight", type=float, default=3.0, help="w of the text expert alone")
    parser.add_argument("--scene-weight", type=float, default=3.0, help="w of both experts of scenes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")

    if arguments.what.startswith("train-"):
        from .animals import train_animal_reader
        from .features import train_features
        from .mouth import train_mouth_reader

        train = {
            "train-mouth-reader": train_mouth_reader,
            "train-animal-reader": train_animal_reader,
            "train-features": train_features,
        }
        log.info("Wrote %s", train[arguments.what]())
        return 0
    from .protocols import PROTOCOLS, to_markdown

    table = PROTOCOLS[arguments.what](arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.what}.json"
    path.write_text(json.dumps({"arguments": _plain(arguments), "table": table}, indent=2), encoding="utf-8")
    markdown = to_markdown(table)
    path.with_suffix(".md").write_text(markdown, encoding="utf-8")
    log.info("Wrote %s\n%s", path, markdown)
    return 0


def _plain(arguments: argparse.Namespace) -> dict:
    """Arguments without the machine's paths."""
    return {name: value for name, value in vars(arguments).items() if not isinstance(value, Path)}

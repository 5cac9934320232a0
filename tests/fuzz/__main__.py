"""Write mutated files of a seed to a folder, for others to try."""

import argparse
import random
import tempfile
from pathlib import Path

from . import headers, pickles
from .bases import content_of, write_bases

KINDS = {".safetensors": (Path.read_bytes, headers.mutated), ".pt": (content_of, pickles.mutated)}
"""How a file's name ends → what is read of a healthy one, and what spoils that."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, required=True, metavar="FOLDER", help="where to write them")
    options = parser.parse_args()
    options.write.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        bases = write_bases(Path(name))
        for suffix, (read, mutated) in KINDS.items():
            contents = [read(base) for base in bases]
            for index in range(options.files):
                rng = random.Random(f"{suffix} {options.seed} {index}")
                (options.write / f"{index}{suffix}").write_bytes(mutated(rng, rng.choice(contents)))


if __name__ == "__main__":
    main()

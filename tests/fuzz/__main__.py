"""Write the files of both corpora to a folder, for others to try."""

import argparse
import tempfile
from pathlib import Path

from .bases import write_bases
from .corpus import CORPORA


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="files of each corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, required=True, metavar="FOLDER", help="where to write them")
    options = parser.parse_args()
    options.write.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        bases = write_bases(Path(name))
        for corpus, (suffix, files) in CORPORA.items():
            for index, (mutation, content) in enumerate(files(bases, options.files, options.seed)):
                (options.write / f"{mutation}-{corpus}-{index}{suffix}").write_bytes(content)


if __name__ == "__main__":
    main()

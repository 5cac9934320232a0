"""Try both corpora and count what became of them, or write them for others to try."""

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from .bases import write_bases
from .child import Child
from .corpus import CORPORA
from .trial import MEGABYTE, Outcome

GOOD = ("refused", "sampled")
SHOWN = 15  # bad ones that are told of


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 if any file came out badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="files of each corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", choices=CORPORA, action="append", help="one corpus only")
    parser.add_argument("--keep", type=Path, help="folder for the files that came out badly")
    parser.add_argument("--write", type=Path, help="write all files to this folder, and try none")
    options = parser.parse_args(arguments)
    if options.write:
        return _write(options)
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bases").mkdir()
        bases = write_bases(folder / "bases")
        child = Child(bases)
        for corpus in options.corpus or CORPORA:
            outcomes = _try_corpus(corpus, bases, child, folder, options)
            _tell(corpus, outcomes)
            bad += sum(outcome.kind not in GOOD for _, outcome in outcomes)
        child.close()
    return min(bad, 1)


def _write(options: argparse.Namespace) -> int:
    options.write.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        bases = write_bases(Path(name))
        for corpus in options.corpus or CORPORA:
            suffix, files = CORPORA[corpus]
            for index, (mutation, content) in enumerate(files(bases, options.files, options.seed)):
                (options.write / f"{mutation}-{corpus}-{index}{suffix}").write_bytes(content)
    return 0


def _try_corpus(
    corpus: str, bases: list[Path], child: Child, folder: Path, options: argparse.Namespace
) -> list[tuple[str, Outcome]]:
    suffix, files = CORPORA[corpus]
    outcomes = []
    for index, (mutation, content) in enumerate(files(bases, options.files, options.seed)):
        path = folder / f"{corpus}-{index}{suffix}"
        path.write_bytes(content)
        outcome = child.attempt(path)
        outcomes.append((f"{path.name} {mutation}", outcome))
        if options.keep and outcome.kind not in GOOD:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{mutation}-{path.name}").write_bytes(content)
        path.unlink()
    return outcomes


def _tell(corpus: str, outcomes: list[tuple[str, Outcome]]) -> None:
    counts = Counter(outcome.kind for _, outcome in outcomes)
    calls = max(outcome.calls for _, outcome in outcomes)
    largest = max(outcome.peak for _, outcome in outcomes) / MEGABYTE
    told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    lines = [f"{corpus}: {len(outcomes)} files: {told}; at most {calls:,} calls, {largest:.0f} MB"]
    alike = defaultdict(list)
    for name, outcome in outcomes:
        if outcome.kind not in GOOD:
            alike[outcome.kind, name.split()[-1], outcome.detail[:110]].append(name)
    for (kind, _, detail), names in sorted(alike.items(), key=lambda item: -len(item[1]))[:SHOWN]:
        lines.append(f"  {len(names)} {kind}: {names[0]}: {detail}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Entry point of `python -m tools`."""

import argparse
import sys

from . import commands
from .tables import tables


def main() -> int:
    """Parse the command line, run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    parser.add_argument(
        "command",
        choices=["demo", "tables", "test", "test-all", "coverage", "api", "lint", "imports", "types", "format"],
        help="demo: draw the README's picture; "
        "tables: sample and measure everything in studies/results.md; "
        "test: linters and the short tests; test-all: the long tests, which test leaves out; "
        "coverage: all tests of core and studies, and the lines that none of them runs; "
        "api: write pages of mcdm_core's functions into out/api/; lint: ruff, deptry and mypy; "
        "imports: deptry alone; types: mypy alone; format: let ruff mend and format",
    )
    options, rest = parser.parse_known_args()
    if options.command == "demo":
        return commands.demo(rest)
    if options.command == "tables":
        return tables(rest)
    if options.command == "test":
        return commands.test(rest)
    if options.command == "test-all":
        return commands.test_all(rest)
    if options.command == "coverage":
        return commands.coverage(rest)
    if options.command == "api":
        return commands.api(rest)
    if rest:
        parser.error(f"{options.command} takes no further arguments, but got {' '.join(rest)}")
    checks = {"lint": commands.lint, "imports": commands.imports, "types": commands.types}
    return (checks | {"format": commands.format_code})[options.command]()


if __name__ == "__main__":
    sys.exit(main())

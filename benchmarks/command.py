"""What the commands of this folder share: a file for the figures, checked before anything is measured."""

import argparse
from pathlib import Path

from .machine import ask_for_huge_pages


def parsed(parser: argparse.ArgumentParser, huge_pages: bool = False) -> argparse.Namespace:
    """Add `--csv`, read the command line, and end with a sentence where that file cannot be written.

    Args:
        parser: With all other options.
        huge_pages: Start anew with glibc's huge pages where that is possible; see `ask_for_huge_pages`.
    """
    parser.add_argument("--csv", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    if huge_pages:
        ask_for_huge_pages()
    # Imported only where glibc has been asked, for it imports torch; once ComfyUI is entered it isn't found.
    from mcdm_core.cli.output import check_folder, check_free

    if options.csv:
        try:
            check_folder(options.csv.parent)
            check_free(options.csv, overwrite=True)
        except ValueError as error:
            parser.error(str(error))
    return options

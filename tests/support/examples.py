"""Code of the pages: Python, sessions of it, and command lines."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON_PAGE = ROOT / "docs" / "python.md"


def code_blocks(page: Path) -> list[str]:
    """The indented blocks of a page, without their indentation; blank lines within a block stay."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"(?<=\n\n)(?: {4}.*\n(?:\n(?= {4}))?)+", text)
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in blocks]


def python_of(page: Path) -> list[str]:
    """The blocks that are Python to be run from the top."""
    return [block for block in code_blocks(page) if re.match(r"(?:import|from) \w", block)]


def commands_of(page: Path) -> list[list[str]]:
    """The words behind `python -m mcdm_core` of each command in the page's blocks."""
    lines = "\n".join(code_blocks(page)).replace("\\\n", " ").splitlines()
    start = "python -m mcdm_core "
    return [shlex.split(line.removeprefix(start)) for line in lines if line.startswith(start)]

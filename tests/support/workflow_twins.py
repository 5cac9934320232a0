"""Workflows of the page and their twins in API format, which keep their names: both belong together by content."""

import json
from pathlib import Path
from typing import Any

NOTES = {"Note", "MarkdownNote"}
FROM_THIS_REPOSITORY = {
    "hair_64.safetensors": "studies/networks/pixels/hair.safetensors",
    "skin_64.safetensors": "studies/networks/pixels/skin.safetensors",
}
"""Files that templates name and that users copy from this repository, because the registry's archive lacks them: under
the names that they have in `ComfyUI/models/mcdm/`, where a shipped expert has the name that each has here."""


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def pages_of(folder: Path) -> dict[str, Path]:
    """The page's file of each workflow.

    Args:
        folder: With the page's files, and those in API format in a folder `api`.

    Returns:
        By the names of the latter.

    Raises:
        ValueError: If not each has exactly one page's file with the same nodes, or a page's file is left over.
    """
    pages = {path: _types_on_page(read_json(path)) for path in sorted(folder.glob("*.json"))}
    found = {}
    for path in sorted((folder / "api").glob("*.json")):
        types = {key: node["class_type"] for key, node in read_json(path).items()}
        alike = [page for page, of_page in pages.items() if of_page == types]
        if len(alike) != 1:
            raise ValueError(f"Expected one page's file with the nodes of {path} and got {alike or 'none'}.")
        found[path.stem] = alike[0]
    if left := pages.keys() - set(found.values()):
        raise ValueError(f"Expected a twin in API format of every page's file and got none of {sorted(left)}.")
    return found


def _types_on_page(workflow: dict[str, Any]) -> dict[str, str]:
    """The types of a workflow's nodes by their ids, without notes, which no prompt has."""
    return {str(node["id"]): node["type"] for node in workflow["nodes"] if node["type"] not in NOTES}

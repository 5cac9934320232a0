"""What the Markdown pages of the repository say: their words, links, pictures, names and numbers, and their code."""

import json
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pathspec

ROOT = Path(__file__).resolve().parents[2]
README, PYTHON_PAGE = ROOT / "README.md", ROOT / "docs" / "python.md"
USERS = (README, *(ROOT / "docs" / f"{name}.md" for name in ("nodes", "models", "templates")))
"""Pages whose names of nodes, templates, inputs and files are held to what there is."""
_LEFT_OUT = pathspec.GitIgnoreSpec.from_lines((ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines())
_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\((?:<([^>]+)>|([^)\s]+))\)")

CORE_NODES = {
    *("CLIP Text Encode (Prompt)", "Conditioning (Set Mask)", "Create Hook LoRA", "Dual Model CFG Guider"),
    *("InpaintModelConditioning", "InstructPixToPixConditioning", "KSampler", "Load Checkpoint", "Load LoRA"),
    *("Load LoRA (Model and CLIP)", "Combine Masks", "ModelMergeSimple", "SamplerCustomAdvanced", "Save Image"),
    *("Select Model Device", "Create Solid Mask", "TomePatchModel", "VAE Decode", "Feather Mask", "Invert Mask"),
    *("FluxGuidance", "Load Image", "ModelSamplingSD3", "Train LoRA"),
}
"""Nodes of ComfyUI 0.33 that these pages name; `tests/comfy/server/test_workflows.py` looks them up."""
CORE_SCHEDULERS = {"normal", "simple", "sgm_uniform", "ddim_uniform", "karras"}
CORE_PAGE = {
    "Templates",
    "Workflow",
    "Browse Templates",
    "Extensions",
    "Run",
    "Edit subgraph",
    "Filters",
    "Open in MaskEditor",
}
"""Words on ComfyUI's page."""


def text_of(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^    .*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def words_of(path: Path) -> list[str]:
    """The words that are read: neither code nor pictures nor addresses."""
    shown = _LINK.sub(lambda link: "" if link[1] else link[2], text_of(path))
    return [word for word in shown.split() if re.search(r"\w", word)]


def links_of(path: Path) -> list[str]:
    """The target of each link and picture."""
    return [unquote(link[3] or link[4]) for link in _LINK.finditer(text_of(path))]


def pictures_of(path: Path) -> list[str]:
    """The file or address of each picture."""
    return [unquote(link[3] or link[4]) for link in _LINK.finditer(text_of(path)) if link[1]]


def is_left_out(path: Path) -> bool:
    """Whether the registry's archive lacks a file or folder of the repository."""
    name = path.relative_to(ROOT).as_posix()
    return _LEFT_OUT.match_file(f"{name}/" if path.is_dir() else name)


def anchors_of(path: Path) -> set[str]:
    """The names by which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def italics_of(path: Path) -> list[str]:
    """What stands in italics: in the pages for users names and nothing else."""
    plain = re.sub(r"`[^`]*`", "", text_of(path)).replace("**", "")
    return [" ".join(name.split()) for name in re.findall(r"(?<![*\w])\*([^*]+)\*", _LINK.sub(r"\2", plain))]


def code_of(path: Path) -> list[str]:
    """What stands between backticks."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text_of(path))]


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


def node_texts() -> dict[str, dict]:
    """Display name, inputs and outputs of every node of the pack by its id; the node tests hold them to the schemas."""
    return json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))


def templates() -> set[str]:
    """The names of the templates, which are those of their files."""
    return {path.stem for path in (ROOT / "workflows").glob("*.json")}


def blueprints() -> set[str]:
    """The names of the subgraph blueprints, which are those of their files."""
    return {path.stem for path in (ROOT / "subgraphs").glob("*.json")}


def heading_of_templates() -> str:
    """What the templates stand under in ComfyUI's page."""
    main = json.loads((ROOT / "locales" / "en" / "main.json").read_text(encoding="utf-8"))
    return main["templateWorkflows"]["category"]["mcdm"]

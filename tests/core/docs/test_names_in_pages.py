"""Nodes, templates, blueprints, inputs, options and files that the pages for users name are those that there are."""

import json
import re
from collections import Counter

import pytest

from mcdm_core import load_expert

from ...support.pages import (
    CORE_NODES,
    CORE_PAGE,
    CORE_SCHEDULERS,
    ROOT,
    USERS,
    blueprints,
    code_of,
    heading_of_templates,
    italics_of,
    node_texts,
    pictures_of,
    templates,
    text_of,
)
from ...support.workflow_twins import pages_of

NODES = {text["display_name"]: node_id for node_id, text in node_texts().items()}
OTHERS = {"expert", "MCDM", "mcdm", "none", *CORE_NODES, *CORE_PAGE, heading_of_templates()}
"""What else stands in italics: a word that is explained, the pack's name and category, an entry of a table."""
VALUES = {"or", "absolute weight", "reliability and weight", "0.25, 0.35, 0.5", "euler_ancestral", *CORE_SCHEDULERS}
OF_OTHERS = {
    *("AND", "FaRL", "ratio", "prompt_id", "loras/", "diffusion_models/", "text_encoders/", "extra_model_paths.yaml"),
    *(".pt", ".pth", "mcdm", "mcdm_face_…", "--preview-method auto"),
}
"""Code of others: composable diffusion's word, an input of TomePatchModel, the server's answer, ComfyUI's folders and
option, kinds of files."""
GUIDE, LISTED = ROOT / "docs" / "nodes.md", ROOT / "docs" / "templates.md"


def rows(page) -> list[list[str]]:
    """The cells of each row of the page's tables."""
    lines = re.findall(r"^\|(.*)\|$", text_of(page), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def types_in(template: str) -> set[str]:
    page = json.loads((ROOT / "workflows" / f"{template}.json").read_text(encoding="utf-8"))
    return {node["type"] for node in page["nodes"]}


@pytest.mark.parametrize("page", USERS, ids=lambda page: page.stem)
def test_what_stands_in_italics_is_the_name_of_something(page):
    known = NODES.keys() | templates() | blueprints() | OTHERS
    assert [name for name in italics_of(page) if name not in known] == []


@pytest.mark.parametrize("page", USERS, ids=lambda page: page.stem)
def test_code_is_an_input_an_option_a_command_or_a_file(page):
    known = {value["name"] for text in node_texts().values() for value in text["inputs"].values()} | VALUES | OF_OTHERS
    known |= {value["name"] for text in node_texts().values() for value in text["outputs"].values()}
    files = {path.name for folder in ("experts", "workflows/api") for path in (ROOT / folder).iterdir()}
    downloads = set(re.findall(r"[\w.-]+\.(?:safetensors|pth?)", json.dumps(rows(ROOT / "docs" / "models.md"))))
    commands = re.compile(
        r"(make \w+|(python -m )?pip install \.|python_embeded\\python\.exe"
        r"|python -m (tools|mcdm_core|studies) \w+( FILE)?|convert|git clone --depth 1 ADDRESS mcdm"
        r"|http://127\.0\.0\.1:8188/\S+|ComfyUI/(models|input|custom_nodes)/\S*)"
    )
    unknown = [
        code
        for code in code_of(page)
        if code not in known | files | downloads and not commands.fullmatch(code) and not (ROOT / code).exists()
    ]
    assert unknown == []


def test_every_node_has_one_row_with_templates_that_have_it():
    named = [(cells[0].replace("*", ""), cells) for cells in rows(GUIDE)]
    assert Counter(name for name, _ in named if name in NODES) == Counter(NODES.keys())
    found = dict(named)
    for name, node_id in NODES.items():
        for template in re.findall(r"\*([^*]+)\*", found[name][2]):
            assert node_id in types_in(template), (name, template)


def test_every_blueprint_has_a_row():
    assert {f"*{name}*" for name in blueprints()} <= {cells[0] for cells in rows(GUIDE)}


def test_wishes_lead_to_templates_that_have_the_node():
    """Of README's table from wish to node and template."""
    wishes = [
        (nodes, template)
        for _, nodes, cell in (cells for cells in rows(USERS[0]) if len(cells) == 3)
        for template in re.findall(r"\*([^*]+)\*", cell)
        if template in templates()
    ]
    assert len(wishes) >= 10
    for nodes, template in wishes:
        for name in set(re.findall(r"\*([^*]+)\*", nodes)) & NODES.keys() - {"Inspect Product"}:
            assert NODES[name] in types_in(template), (name, template)


def listed() -> dict[str, list[str]]:
    """The row of each template: picture, name and what it shows, twin in API format, files."""
    return {cells[1].split("*")[1]: cells for cells in rows(LISTED) if len(cells) == 4 and cells[1].startswith("*")}


def test_every_template_is_listed_with_its_twin_and_its_picture():
    twins = {path.stem: f"`{twin}.json`" for twin, path in pages_of(ROOT / "workflows").items()}
    assert {name: twin for name, (_, _, twin, _) in listed().items()} == twins
    assert {f"../workflows/{name}.jpg" for name in templates()} <= set(pictures_of(LISTED))
    assert [name for name, cells in listed().items() if f"../workflows/{name}.jpg" not in cells[0]] == []


def test_templates_that_need_no_file_are_those_that_load_none():
    shipped = {path.name for path in (ROOT / "experts").glob("*.safetensors")}
    loaders = {"CheckpointLoaderSimple", "UNETLoader", "LoraLoader", "LoraLoaderModelOnly", "MCDM_LoadExpert"}
    for name, (*_, files) in listed().items():
        page = json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
        loaded = {node["widgets_values"][0] for node in page["nodes"] if node["type"] in loaders}
        remote = any(node["type"] == "MCDM_ExpertRemote" for node in page["nodes"])
        assert (files == "none, but Ray and a worker") == remote
        assert files.startswith("none") == (loaded <= shipped), name


@pytest.mark.parametrize(
    ("name", "opening"), [("text", "Faces know these words"), ("landscapes", "Landscapes know these")]
)
def test_the_words_of_captions_are_those_that_the_expert_knows(name, opening, caplog):
    load_expert(name).encoder.encode_text("zeppelin")
    (known,) = re.findall(r"; it knows (.+)\.$", caplog.text.strip())
    page = " ".join(text_of(ROOT / "docs" / "models.md").split())
    assert f"- {opening}: {known}. " in page

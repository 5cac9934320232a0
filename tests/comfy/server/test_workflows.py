"""The shipped workflows: what the page opens and what goes over HTTP are the same, and each gives its pictures.

Small random files stand in for the downloads; experts that users copy from this repository are the real ones.
`test_server.py` checks what the workflows of the shipped experts draw.
"""

import json
import math
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from ...support.pages import CORE_NODES, CORE_SCHEDULERS
from ...support.watchdog import PATIENCE
from ...support.workflow_twins import NOTES, pages_of, read_json
from ..support.server.comfyui_server import ROOT, started_with
from ..support.server.pages import page_prompt

FOLDER = ROOT / "workflows"
PAGES = pages_of(FOLDER)
NAMES = sorted(PAGES)
SIZE = 64
PICTURES = {
    "two_checkpoints": [SIZE],
    "checkpoint_and_lora": [SIZE],
    "regions": [SIZE],
    "paper_vs_own_null": [SIZE, SIZE],
    "two_characters": [SIZE],
    "lora_composite": [SIZE],
    "lora_switch": [SIZE],
    "save_the_mix": [SIZE],
    "null_of_another_model": [SIZE],
    "autoguidance": [SIZE],
    "refiner_hand_off": [SIZE],
    "sd15_and_sdxl": [SIZE],
    "scenes_glide_imagenet": [SIZE // 2, SIZE],
    "composable_glide": [SIZE // 2, SIZE],
    "faces_release": [SIZE // 2],
    "faces_two_spaces": [256],
}
"""Sizes of the pictures of each workflow that needs files of the user's."""
SHIPPED = {path.name for path in (ROOT / "experts").glob("*.safetensors")}
FILES = {"ckpt_name": "checkpoints", "lora_name": "loras", "expert_name": "mcdm"}
BESIDE = {"faces_release": {("mcdm", "FaRL-Base-Patch16-LAIONFace20M-ep64.pth")}}


def graph(name: str) -> dict:
    return read_json(PAGES[name])


def api(name: str) -> dict:
    return read_json(FOLDER / "api" / f"{name}.json")


def is_link(value) -> bool:
    return isinstance(value, list)


def downloads(name: str) -> set[tuple[str, str]]:
    """Folder and name of the files a workflow loads, without the shipped ones."""
    nodes = api(name).values()
    chosen = {(FILES[key], value) for node in nodes for key, value in node["inputs"].items() if key in FILES}
    return {(folder, file) for folder, file in chosen if file not in SHIPPED} | BESIDE.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_every_number_in_full(node, name):
    for each in api(name).values():
        of_the_pack = node.classes.get(each["class_type"])
        for widget in of_the_pack.GET_SCHEMA().inputs if of_the_pack else ():
            value = each["inputs"].get(widget.id)
            if widget.io_type == "FLOAT" and not is_link(value):
                digits = max(0, -math.floor(math.log10(widget.step)))  # what is typed is rounded to as many
                assert value == round(value, digits), f"{each['class_type']}: {widget.id}"


@pytest.mark.parametrize("name", NAMES)
def test_a_thumbnail_lies_beside_the_graph(name):
    path = PAGES[name].with_suffix(".jpg")
    picture = Image.open(path)
    assert picture.format == "JPEG"
    assert picture.size == (512, 384)
    assert path.stat().st_size < 60000


@pytest.mark.parametrize("name", PICTURES)
def test_the_note_and_the_page_of_files_name_those_that_are_missing(name):
    (note,) = [node["widgets_values"][0] for node in graph(name)["nodes"] if node["type"] in NOTES]
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for folder, file in downloads(name):
        for text in (note, page):
            assert file in text
            assert f"models/{folder}/" in text


@pytest.fixture(scope="module")
def server(comfyui, pack, tmp_path_factory):
    with started_with(comfyui, tmp_path_factory.mktemp("workflows"), set.union(*map(downloads, PICTURES))) as running:
        yield running


def small(name: str, **changes) -> dict:
    """A workflow in API format with few steps and a small picture; `changes` set widgets wherever they occur."""
    prompt, changes = api(name), {"steps": 2, "spacing": "2", **changes}
    for node in prompt.values():
        widgets = {key for key, value in node["inputs"].items() if not is_link(value)}
        changed = {key: value for key, value in changes.items() if key in widgets}
        node["inputs"] |= changed
        if node["class_type"] == "EmptyLatentImage":
            node["inputs"] |= {"width": SIZE, "height": SIZE}
    return prompt


def test_the_server_knows_every_node(server):
    known = set(server.get("/object_info")) | NOTES
    assert {node["type"] for name in NAMES for node in graph(name)["nodes"]} <= known


def test_the_pages_call_comfyuis_nodes_by_their_names(server):
    known = server.get("/object_info")
    assert {each["display_name"] or name for name, each in known.items()} >= CORE_NODES
    assert set(known["KSampler"]["input"]["required"]["scheduler"][0]) >= CORE_SCHEDULERS


@pytest.mark.parametrize("name", NAMES)
def test_the_page_queues_the_api_twin(server, name):
    queued = page_prompt(graph(name), server.get("/object_info"))
    assert queued == {key: {"class_type": n["class_type"], "inputs": n["inputs"]} for key, n in api(name).items()}


@pytest.mark.parametrize(("name", "sizes"), PICTURES.items())
def test_each_workflow_gives_its_pictures(server, name, sizes):
    pictures = server.pictures(small(name))
    assert sorted(picture.shape for picture in pictures) == [(size, size, 3) for size in sizes]
    assert all(picture.std() > 5 for picture in pictures)


@pytest.mark.parametrize(
    ("name", "title", "inputs"),
    [
        ("scenes_glide_imagenet", "Class", {"class_name": "281"}),
        ("scenes_glide_imagenet", "Caption", {"text": "a harbour"}),
        ("scenes_glide_imagenet", "Caption for the upsampler", {"text": "a harbour"}),
        ("composable_glide", "First caption", {"text": "a harbour"}),
        ("composable_glide", "Second caption", {"text": "a harbour"}),
        ("faces_release", "Skin map (the paper's face)", {"image": "mcdm_face_2_skin.png"}),
        ("faces_release", "Hair map", {"image": "mcdm_face_2_hair.png"}),
        ("faces_release", "Caption", {"text": "a man with a beard"}),
        ("faces_release", "Picture for the sketch", {"image": "mcdm_face_2.png"}),
        ("faces_two_spaces", "Hair map", {"image": "mcdm_face_2_hair.png"}),
        ("faces_two_spaces", "Skin map", {"image": "mcdm_face_2_skin.png"}),
        ("faces_two_spaces", "Caption", {"text": "a man with a beard"}),
        ("sd15_and_sdxl", "SDXL: positive", {"text": "a harbour"}),
        ("sd15_and_sdxl", "SD1.5: positive", {"text": "a harbour"}),
    ],
)
def test_every_condition_has_a_say(server, name, title, inputs):
    before, after = small(name, filename_prefix="before"), small(name, filename_prefix="after")
    (changed,) = [node for node in after.values() if node["_meta"]["title"] == title]
    changed["inputs"] |= inputs
    (*_, usual), (*_, other) = (sorted(server.pictures(prompt), key=len) for prompt in (before, after))
    assert np.abs(usual.astype(float) - other).mean() > 0.2


def test_the_face_of_two_spaces_obeys_its_maps_and_its_caption(server, studies):
    parser, metrics = studies("data.face_parser"), studies("metrics")
    prompt = api("faces_two_spaces")
    (picture,) = server.pictures(prompt)
    parsed = parser.parse_face(picture)
    by_title = {node["_meta"]["title"]: node["inputs"] for node in prompt.values()}
    for kind in ("hair", "skin"):
        file = by_title[f"{kind.capitalize()} map"]["image"]
        drawn = Image.open(ROOT / "workflows" / "inputs" / file.removeprefix("mcdm_")).convert("L")
        assert metrics.intersection_over_union(getattr(parsed, kind), np.asarray(drawn) > 127) > 0.65
    assert parsed.colors == {"hair_color": "blonde", "skin_color": "dark", "background": "blue"}


def test_the_lora_has_a_say(server):
    (without,) = server.pictures(small("checkpoint_and_lora", strength_model=0.0))
    (with_lora,) = server.pictures(small("checkpoint_and_lora", strength_model=1.0, filename_prefix="again"))
    assert np.abs(with_lora.astype(float) - without).mean() > 1


def test_the_two_rules_differ_unless_reliabilities_are_in_proportion_to_weights(server):
    """As the note in the workflow says."""
    paper, own = server.pictures(small("paper_vs_own_null", filename_prefix="differ"))
    assert np.abs(paper.astype(float) - own).mean() > 1
    paper, own = server.pictures(small("paper_vs_own_null", reliability=1.0))
    assert np.abs(paper.astype(float) - own).max() <= 1


def script_of_the_page(server, folder, prompt: dict) -> subprocess.CompletedProcess:
    """Run the script that `docs/templates.md` prints, in a folder where the template is this prompt."""
    page = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
    (printed,) = re.findall(r"^    import json, .*?\n\n(?=\S)", page, re.MULTILINE | re.DOTALL)
    script = textwrap.dedent(printed).replace("127.0.0.1:8188", server.address)
    assert server.address in script
    template = folder / "workflows" / "api" / "faces.json"
    template.parent.mkdir(parents=True)
    template.write_text(json.dumps(prompt), encoding="utf-8")
    command = [sys.executable, "-I", "-c", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_the_script_of_the_page_queues_a_template_and_saves_its_picture(server, tmp_path):
    ran = script_of_the_page(server, tmp_path, small("faces"))
    assert ran.returncode == 0, ran.stderr
    (name,) = re.findall(r"saved (\S+)", ran.stdout)
    with Image.open(tmp_path / name) as saved:
        assert saved.size == (256, 256)


def test_the_script_of_the_page_prints_why_a_prompt_is_refused(server, tmp_path):
    prompt = small("faces")
    del prompt["11"]["inputs"]["null"]
    ran = script_of_the_page(server, tmp_path, prompt)
    assert ran.returncode == 1
    assert "needs a negative" in ran.stderr

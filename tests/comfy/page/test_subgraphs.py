"""The subgraph blueprints: what the page makes of them can be queued, and gives its picture."""

import json
import urllib.error
from collections import Counter

import pytest

from ..support.server.comfyui_server import ROOT, SDXL, started_with
from ..support.server.pages import FROM_OUTSIDE, page_prompt

FOLDER = ROOT / "subgraphs"
TO_OUTSIDE = -20
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
SIZE = 64
MASKS = {"left": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 8, "height": 8}}}


def blueprint(name: str) -> tuple[dict, dict]:
    """The node that the page shows, and what is in it."""
    graph = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    (shown,), (inside,) = graph["nodes"], graph["definitions"]["subgraphs"]
    return shown, inside


def test_there_is_one_for_each_way_to_begin():
    ways = {"MCDM Checkpoint and LoRA", "MCDM Regions", "MCDM Reliability Sweep", "MCDM Two Characters"}
    # The page puts names that begin with what is searched for first, the shortest before the others.
    assert set(NAMES) == ways | {"Combine Two Checkpoints (MCDM)"}


@pytest.mark.parametrize("name", NAMES)
def test_the_node_shows_what_is_inside(name):
    shown, inside = blueprint(name)
    assert shown["type"] == inside["id"]
    for side in ("inputs", "outputs"):
        assert [(slot["name"], slot["type"]) for slot in shown[side]] == [(s["name"], s["type"]) for s in inside[side]]
    assert inside["description"].endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_link_is_known_at_both_ends(name):
    _, inside = blueprint(name)
    nodes = {node["id"]: node for node in inside["nodes"]}
    assert not [link for link, times in Counter(link["id"] for link in inside["links"]).items() if times > 1]
    for link in inside["links"]:
        source, target = nodes.get(link["origin_id"]), nodes.get(link["target_id"])
        slot = source["outputs"][link["origin_slot"]] if source else inside["inputs"][link["origin_slot"]]
        assert link["id"] in slot["links" if source else "linkIds"]
        place = target["inputs"][link["target_slot"]] if target else inside["outputs"][link["target_slot"]]
        assert link["id"] == place["link"] if target else link["id"] in place["linkIds"]
        assert slot["type"] == place["type"] == link["type"]
        assert source or link["origin_id"] == FROM_OUTSIDE
        assert target or link["target_id"] == TO_OUTSIDE


@pytest.fixture(scope="module")
def server(comfyui, pack, tmp_path_factory):
    nodes = [node for name in NAMES for node in blueprint(name)[1]["nodes"]]
    models = [model for node in nodes for model in node["properties"].get("models", ())]
    files = {("checkpoints", SDXL)} | {(model["directory"], model["name"]) for model in models}
    with started_with(comfyui, tmp_path_factory.mktemp("subgraphs"), files) as running:
        yield running


def test_the_core_lists_them(server):
    listed = {entry["name"] for entry in server.get("/global_subgraphs").values()}
    assert set(NAMES) <= listed


@pytest.mark.parametrize("name", ["MCDM Regions", "MCDM Two Characters"])
@pytest.mark.parametrize("missing", ["mask_1", "mask_2"])
def test_a_missing_mask_is_refused(server, name, missing):
    _, inside = blueprint(name)
    masks = {key: ["left", 0] for key in ("mask_1", "mask_2") if key != missing}
    prompt = page_prompt(inside, server.get("/object_info"), masks)
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.queue({**prompt, **MASKS, "save": saved(inside)})
    said = json.loads(refused.value.read())["node_errors"]
    (node,) = [each for each in inside["nodes"] if each.get("title", "").endswith(f"{missing[-1]}: connect one")]
    assert said.keys() == {str(node["id"])}
    assert said[str(node["id"])]["errors"][0]["extra_info"]["input_name"] == "mask"


def saved(inside: dict) -> dict:
    """A node that saves the picture of a blueprint."""
    link = inside["outputs"][0]["linkIds"][0]
    (source,) = [[str(each["origin_id"]), each["origin_slot"]] for each in inside["links"] if each["id"] == link]
    return {"class_type": "SaveImage", "inputs": {"images": source, "filename_prefix": "subgraph"}}


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_its_picture(server, name):
    _, inside = blueprint(name)
    prompt = page_prompt(inside, server.get("/object_info"), {"mask_1": ["left", 0], "mask_2": ["left", 0]})
    if name.startswith("Combine"):
        prompt["1"]["inputs"]["ckpt_name"] = SDXL  # of another family than the second
    for node in prompt.values():
        shorter = {"width": SIZE, "height": SIZE, "steps": 1}
        node["inputs"] |= {key: value for key, value in shorter.items() if key in node["inputs"]}
    (picture,) = server.pictures({**prompt, **MASKS, "save": saved(inside)})
    assert picture.std() > 5

"""Workflows that were shipped earlier still run unchanged, as saved by the page and over HTTP.

`data/workflows_before` holds those that a later state changed: `inputs_in_a_subfolder`, shipped until the example
pictures moved to the root of ComfyUI's input folder, `64_pixels`, until the shipped experts drew larger pictures,
`agreement_of_loras`, until it was measured that agreement weights keep no LoRA out of another's place,
`choice_by_passes`, until runs could keep the scores that samples are chosen by, and `equal_reliabilities`, until it was
measured that captions are followed better where reliabilities are as weights and what else acts ends earlier.
"""

from pathlib import Path

import pytest

from ..support.workflow_twins import pages_of, read_json
from .support.comfyui_server import started_with
from .support.pages import page_prompt

BEFORE = Path(__file__).parent / "data" / "workflows_before"
PAGES = {f"{folder.name}/{name}": page for folder in BEFORE.iterdir() for name, page in pages_of(folder).items()}
NAMES = sorted(PAGES)
FILES = {"ckpt_name": "checkpoints", "lora_name": "loras", "expert_name": "mcdm"}
FARL = "FaRL-Base-Patch16-LAIONFace20M-ep64.pth"  # which the face network looks for beside itself
FEW = {"steps": 1, "spacing": "1"}


def prompt(name: str) -> dict:
    state, _, file = name.partition("/")
    nodes = read_json(BEFORE / state / "api" / f"{file}.json").items()
    return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in nodes}


def loaded_files() -> set[tuple[str, str]]:
    inputs = [node["inputs"] for name in NAMES for node in prompt(name).values()]
    return {(FILES[key], of[key]) for of in inputs for key in of.keys() & FILES.keys()} | {("mcdm", FARL)}


@pytest.fixture(scope="module")
def server(comfyui, pack, tmp_path_factory):
    with started_with(comfyui, tmp_path_factory.mktemp("before"), loaded_files()) as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_the_page_reads_it_as_it_was_meant(server, name):
    info = server.get("/object_info")
    queued, meant = page_prompt(read_json(PAGES[name]), info), prompt(name)
    assert queued.keys() == meant.keys()
    for key, node in meant.items():
        added = queued[key]["inputs"].keys() - node["inputs"].keys()
        assert {name: value for name, value in queued[key]["inputs"].items() if name not in added} == node["inputs"]
        assert added <= info[node["class_type"]]["input"].get("optional", {}).keys()


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(server, name):
    short = prompt(name)
    for node in short.values():
        node["inputs"] |= {key: value for key, value in FEW.items() if key in node["inputs"]}
        if node["class_type"] == "EmptyLatentImage":
            node["inputs"] |= {"width": 64, "height": 64}
    saving = {key for key, node in short.items() if node["class_type"] == "SaveImage"}
    outputs = server.wait(server.queue(short))["outputs"]
    saved = {key: len(outputs[key]["images"]) for key in outputs.keys() & saving}
    particles = {key for key in saving if "particles" in short[key]["inputs"]["filename_prefix"]}  # a batch of four
    assert saved == {key: 4 if key in particles else 1 for key in saving}

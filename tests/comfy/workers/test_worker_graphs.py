"""Experts that a graph describes, of nodes and files that only the worker has."""

import importlib.util
import json
import re

import pytest
import torch

from ...support.watchdog import PATIENCE
from ..support.server.downloads import write_checkpoint
from ..support.server.posts import faults_of, posted, prompt_node, shown
from ..support.server.workers import NO_RAY, copy_models, joined_cluster, on_worker
from .test_workers import assert_same, checkpoints, expert, runner, small  # noqa: F401 — a fixture

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)

PACK_OF_THE_WORKER = """
import folder_paths
import nodes


class ImageThere(nodes.LoadImage):
    pass


class CheckpointThere(nodes.CheckpointLoaderSimple):
    pass


NODE_CLASS_MAPPINGS = {"ImageThere": ImageThere, "CheckpointThere": CheckpointThere}
"""
NODE = "mcdm_pack.nodes.workers.node"


@pytest.fixture(scope="module")
def cluster(pack, base, comfyui, small_experts, tmp_path_factory):
    """A worker "one" that has nodes and a checkpoint of its own."""
    write_checkpoint(base / "models" / "checkpoints" / "first.safetensors", 1)
    write_checkpoint(base / "models" / "checkpoints" / "second.safetensors", 2)
    folder = tmp_path_factory.mktemp("graphs")
    files = copy_models(base, folder / "one")
    own = files / "models" / "checkpoints"
    (own / "second.safetensors").rename(own / "only there.safetensors")
    (files / "custom_nodes" / "pack_of_the_worker.py").write_text(PACK_OF_THE_WORKER)
    with joined_cluster(comfyui, folder) as running:
        running.add("one", files)
        yield running


def by_graph(prompt: dict, address: str, key: str) -> dict:
    """A prompt one of whose experts is a worker's, as a graph of what is behind it; nothing is linked to it here."""
    moved = on_worker(prompt, address, "one", (key,))
    alone = {name: node for name, node in prompt.items() if name == key or node["class_type"] != "MCDM_Expert"}
    renamed = json.loads(json.dumps(alone).replace('"LoadImage"', '"ImageThere"'))
    moved[key]["inputs"] = {k: v for k, v in moved[key]["inputs"].items() if k not in ("model", "condition", "null")}
    moved[key]["inputs"]["graph"] = json.dumps(renamed)
    return moved


def behind(prompt: dict, key: str) -> dict:
    """The nodes that one needs."""
    found, waiting = {}, [key]
    while waiting:
        if (each := waiting.pop()) not in found:
            found[each] = prompt[each]
            waiting += [value[0] for value in prompt[each]["inputs"].values() if isinstance(value, list)]
    return found


def with_picture() -> dict:
    """The small experts, the map of the first from a picture."""
    prompt = small()
    prompt["3"] = prompt_node("LoadImage", image="mcdm_face_1_hair.png")
    prompt["4"]["inputs"] = {"encoder": ["1", 1], "image": ["3", 0], "map": "auto", "with_text": False}
    return prompt


def test_a_file_that_only_the_worker_has(cluster, runner):  # noqa: F811
    graph = by_graph(checkpoints(), cluster.address, "9")
    there = prompt_node("CheckpointThere", ckpt_name="only there.safetensors")
    described = json.loads(graph["9"]["inputs"]["graph"])
    described["2"] = there
    for name, clip in (("6", ["2", 1]), ("7", ["2", 1])):
        described[name]["inputs"]["clip"] = clip
    described["9"]["inputs"]["model"] = ["2", 0]
    graph["9"]["inputs"]["graph"] = json.dumps(described)
    here = checkpoints()
    here["9"] = expert(["2", 0], ["6", 0], ["7", 0], 2.0, experts=["8", 0])
    here["6"]["inputs"]["clip"] = here["7"]["inputs"]["clip"] = ["2", 1]
    assert_same(runner(behind(graph, "11"), "11"), runner(here, "11"))


def test_a_picture_that_this_comfyui_has_is_sent(cluster, runner):  # noqa: F811
    prompt = with_picture()
    found = runner(behind(by_graph(prompt, cluster.address, "8"), "11"), "11")
    assert_same(found, runner(prompt, "11"))
    prompt["3"]["inputs"]["image"] = "mcdm_face_2_hair.png"
    other = runner(behind(by_graph(prompt, cluster.address, "8"), "11"), "11")
    assert not torch.allclose(found["samples"], other["samples"], atol=1e-3)


@pytest.fixture
def said(host, node, runner):  # noqa: F811
    """What POST /prompt says of the expert on a worker: True, or a sentence."""
    return lambda prompt: posted(host, node, behind(prompt, "11"), "8")


def changed(prompt: dict, key: str, node: dict) -> dict:
    graph = json.loads(prompt["8"]["inputs"]["graph"]) | {key: node}
    return {**prompt, "8": {**prompt["8"], "inputs": {**prompt["8"]["inputs"], "graph": json.dumps(graph)}}}


def test_it_is_validated_there(cluster, said, monkeypatch):
    monkeypatch.setattr(importlib.import_module(NODE), "WITHIN", PATIENCE)  # that of users is 2 s
    prompt = by_graph(with_picture(), cluster.address, "8")
    assert said(prompt) is True
    missing_node = changed(prompt, "1", prompt_node("OnlyHere"))
    assert re.search("worker one refuses: Expected the node OnlyHere, which .*; install", said(missing_node))
    no_file = changed(prompt, "1", prompt_node("CheckpointThere", ckpt_name="no.safetensors"))
    assert re.search("worker one refuses: CheckpointThere: .*no.safetensors", said(no_file))
    no_picture = changed(prompt, "3", prompt_node("ImageThere", image="no.png"))
    assert re.search("worker one refuses: ImageThere: .*no.png", said(no_picture))
    nobody = {**prompt, "8": {**prompt["8"], "inputs": {**prompt["8"]["inputs"], "worker": "three"}}}
    assert re.search("a worker three .* found none; start", said(nobody))


def test_a_worker_that_does_not_answer_is_left_to_the_run(cluster, host, runner, monkeypatch):  # noqa: F811
    """Three experts of it wait no longer than one: until the same moment."""
    check = importlib.import_module(NODE)
    within, deadlines = check._within, []

    def watched(deadline, work):
        deadlines.append(deadline)
        return within(deadline, work)

    monkeypatch.setattr(check, "_within", watched)
    prompt = by_graph(with_picture(), cluster.address, "8")
    for key, before in (("20", "8"), ("21", "20")):
        inputs = {**prompt["8"]["inputs"], "experts": [before, 0]}
        prompt = changed({**prompt, key: {**prompt["8"], "inputs": inputs}}, f"unused {key}", prompt["3"])
    prompt["9"]["inputs"]["experts"] = ["21", 0]
    process = cluster.process("one")
    process.suspend()
    try:
        assert not faults_of(host, shown(behind(prompt, "11"), "11"))
    finally:
        process.resume()
    assert len(deadlines) == 3
    assert len(set(deadlines)) == 1

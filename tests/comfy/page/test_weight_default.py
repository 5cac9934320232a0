"""The weight of a newly placed expert, which no saved workflow takes."""

import json

import pytest

from ..support.server.comfyui_server import ROOT

EXPERTS = ("MCDM_Expert", "MCDM_ExpertRemote")
GRAPHS = [
    *(ROOT / "workflows").rglob("*.json"),
    *(ROOT / "subgraphs").glob("*.json"),
    *(ROOT / "tests" / "comfy" / "data").rglob("*.json"),
]


def weights(graph):
    """What a workflow of the page, a blueprint or an API prompt says of the weights of its experts."""
    if "nodes" not in graph:
        return [node["inputs"].get("weight") for node in graph.values() if node["class_type"] in EXPERTS]
    inside = [node for subgraph in graph.get("definitions", {}).get("subgraphs", ()) for node in subgraph["nodes"]]
    placed = [node for node in (*graph["nodes"], *inside) if node["type"] in EXPERTS]
    return [next(iter(node["widgets_values"]), None) for node in placed]


@pytest.mark.parametrize("node_id", EXPERTS)
def test_two_new_experts_guide_as_cfg_7(node, node_id):
    kind, settings = node.classes[node_id].INPUT_TYPES()["required"]["weight"]
    assert (kind, settings["default"]) == ("FLOAT", 3.5)


def test_everything_that_was_saved_says_its_weights():
    found = [weight for path in GRAPHS for weight in weights(json.loads(path.read_text(encoding="utf-8")))]
    assert len(found) > 100
    assert all(isinstance(weight, (int, float)) for weight in found)

"""Reliability Sweep as it comes, behind the chain of every shipped workflow."""

import pytest

from ...support.workflow_twins import read_json
from ..support.server.comfyui_server import ROOT
from ..support.server.posts import faults_of, shown

NAMES = sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
CHAINED_TO = {"MCDM_KSampler", "MCDM_Guider", "MCDM_OwnNullGuider", "MCDM_TrainLora"}


def ends(prompt):
    """What the chains of several experts are wired to."""
    chains = [node["inputs"]["experts"] for node in prompt.values() if node["class_type"] in CHAINED_TO]
    return [link for link in chains if "experts" in prompt[link[0]]["inputs"]]


@pytest.fixture
def with_sweep(node):
    """A shipped workflow, and a sweep with its defaults behind the chain."""

    def build(name):
        prompt = read_json(ROOT / "workflows" / "api" / f"{name}.json")
        inputs = {value.id: value.default for value in node.classes["MCDM_ReliabilitySweep"].GET_SCHEMA().inputs
                  if getattr(value, "default", None) is not None}  # fmt: skip
        link = ends(prompt)[0]
        prompt["sweep"] = {"class_type": "MCDM_ReliabilitySweep", "inputs": {**inputs, "experts": link}}
        return shown(prompt, "sweep")

    return build


@pytest.mark.parametrize("left_out", [(), ("mask", "weight_curve")], ids=["", "at every noise level"])
@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_not_refused(host, with_sweep, name, left_out):
    """Masks, which reach every expert of a template at least in part, change nothing of what can be planned."""
    prompt = with_sweep(name)
    for node in prompt.values():
        node["inputs"] = {key: value for key, value in node["inputs"].items() if key not in left_out}
    found = faults_of(host, prompt)
    at_sweep = {key for key, fault in found.items() if key == "sweep" or prompt[key]["class_type"] == "MCDM_Expert"}
    assert not at_sweep, found

"""Reliability Sweep as it comes, behind the chain of every shipped workflow."""

from dataclasses import replace

import pytest

from ...support.workflow_twins import read_json
from ..support.server.comfyui_server import ROOT
from ..support.server.posts import faults_of, queued, shown

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


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_not_refused(host, core, with_sweep, name):
    prompt = with_sweep(name)
    found = faults_of(host, prompt)
    at_sweep = {key for key, fault in found.items() if key == "sweep" or prompt[key]["class_type"] == "MCDM_Expert"}
    assert not at_sweep, found


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_can_be_planned_at_every_noise_level(host, with_sweep, name):
    """Masks, which reach every expert of a template at least in part, change nothing about that."""
    prompt, checks = with_sweep(name), host.prompt.chain_checks
    with queued(host, prompt):
        sweep_node = host.prompt.queued_prompt.current_prompt().nodes["sweep"]
        chain = host.prompt.queued_chain.chain_of(sweep_node)
        experts = [replace(each, node=_without(each.node, "mask", "weight_curve")) for each in chain.experts]
        terms = [_term(checks, each) for each in experts]
        sweep = checks._sweep_of(sweep_node)
        sweep.check_cells(terms, lambda terms: _plan(checks, terms))


def _without(node, *names):
    return replace(node, inputs={name: value for name, value in node.inputs.items() if name not in names})


def _term(checks, expert):
    return checks.QueuedTerm(
        name=expert.name,
        has_null="null" in expert.node.inputs,
        **expert.node.numbers(("weight", "reliability", "start", "end", "sigma_start", "sigma_end")),
    )


def _plan(checks, terms):
    combination = checks.Combination(
        terms=terms, rule=checks.EQ10, have_null=[term.has_null for term in terms], remedies=checks.REMEDIES
    )
    checks.Planner(combination, checks.plan_product, lambda progress: 1 - progress).check_run([1.0, 0.0])

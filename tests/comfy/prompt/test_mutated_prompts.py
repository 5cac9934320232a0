"""Whatever is posted is run or refused in a sentence, in few calls and little memory."""

import asyncio
import json
import logging
import traceback
from collections import Counter
from types import SimpleNamespace

import comfy_extras.nodes_custom_sampler as custom
import execution
import pytest
from hypothesis import given, note

import nodes

from ...support.calls import counted_calls
from ...support.memory import MEGABYTE, peak, reset_peak
from ..support.server.comfyui_server import ROOT
from ..support.server.posts import PAINTED, VALIDATED
from ..support.server.posts import prompt_node as node
from ..support.server.prompt_mutants import drawn_mutants
from ..support.server.prompts import product, sweep

CALLS, MOST_BYTES = 1_000_000, 100 * MEGABYTE  # a good prompt takes 100,000 calls at most
RAISED = ("exception_during_validation", "exception_during_inner_validation")


def painted(names, **changes):
    return product(names, map=PAINTED, **changes)


def prompts(names):
    """Between them every kind of node that POST checks."""
    caption = node("MCDM_EncodeText", encoder=["skin", 1], text="a smiling man")
    drawn = {"mode": "edges of a picture", "low_threshold": 100, "high_threshold": 200}
    encoders = {
        "text": caption,
        "sketch": node("MCDM_EncodeSketch", encoder=["skin", 1], image=["map", 0], **drawn),
        "class": node("MCDM_EncodeClass", encoder=["skin", 1], class_name="owl", null_kind="class 0"),
    }
    yield painted(names)
    yield painted(names, sample=sweep(), save=node("SaveImage", images=["sample", 1], filename_prefix="sweep"))
    for kind, encode in encoders.items():
        yield painted(names, **{"skin": node("MCDM_LoadExpert", expert_name=names[kind]), "skin map": encode})
    where = {"address": "127.0.0.1:1", "worker": "one", "timeout": 5.0, "graph": ""}
    yield painted(names, first=node("MCDM_ExpertRemote", **product(names)["first"]["inputs"], **where))
    parts = {
        "guider": node("MCDM_Guider", experts=["second", 0]),
        "noise": node("MCDM_RandomNoise", noise_seed=1, temperature=1.0),
        "sampler": node("MCDM_SamplerDDIM", eta=1.0),
        "sigmas": node("MCDM_Sigmas", model=["hair", 0], spacing="3", denoise=1.0),
    }
    wired = {"noise": ["noise", 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "latent_image": ["latent", 0]}
    yield painted(names, **parts, sample=node("SamplerCustomAdvanced", guider=["guider", 0], **wired))
    several = {
        "latent": node("MCDM_EmptyLatent", encoder=["hair", 1], batch_size=2),
        "guider": node("MCDM_Guider", experts=["second", 0], scores=True),
        "run": node("SamplerCustomAdvanced", guider=["guider", 0], **wired),
    }
    logic = node("MCDM_Logic", operation="and", sharpness=1.0, prior=0.5, largest=2.0)
    yield painted(names, **{**parts, **several, "sampler": logic, "sample": several["run"]})
    chosen = node("MCDM_Choose", experts=["second", 0], samples=["run", 0], count=1)
    yield painted(names, **{**parts, **several}, sample=chosen)
    window = {"start": 0.0, "end": 1.0, "sigma_start": 0.0, "sigma_end": 0.0}
    policies = {
        "curved": node("MCDM_Schedule", experts=["second", 0], sigma_start=0.0, sigma_end=0.0, weight_curve="0: 1"),
        "fewer": node("MCDM_Passes", experts=["curved", 0], threshold=0.9, refresh=2, **window),
        "guider": node("MCDM_Guider", experts=["fewer", 0]),
    }
    run = node("SamplerCustomAdvanced", guider=["guider", 0], **wired)
    yield painted(names, **{**parts, **policies}, sample=run)
    shown = node("MCDM_Inspect", experts=["second", 0], vae=["hair", 2], steps_shown="3", **wired)
    yield painted(names, **parts, sample=shown)


@pytest.fixture
def post(host, monkeypatch):
    """How ComfyUI answers a prompt that is posted, what it finds wrong in each node, and in how many calls."""
    for each in asyncio.run(asyncio.run(custom.comfy_entrypoint()).get_node_list()):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, each.GET_SCHEMA().node_id, each)

    def answer(prompt):
        sent = json.loads(json.dumps({"prompt": prompt, "client_id": "a page"}))
        host.prompt.queued_prompt.remember_prompt(sent)
        with counted_calls() as counted:
            try:
                host.prompt.validation.tell_refusals(sent)
                valid, _, _, found = asyncio.run(execution.validate_prompt("test", sent["prompt"], None))
                problems = {key: of["errors"] for key, of in found.items()}
                outcome = "accepted" if valid else outcome_of([problem for of in problems.values() for problem in of])
            except Exception as failure:  # of core, for which the server answers with status 500
                outcome, problems = "core's failure", {}
                if any(is_ours(line) for line in traceback.format_exception(failure)):
                    outcome = "the pack's exception"
        host.prompt.queued_prompt.remember_prompt({})
        return SimpleNamespace(outcome=outcome, problems=problems, calls=counted.count)

    logging.disable()  # what is logged of a prompt may be no text that one process can send another
    yield answer
    logging.disable(logging.NOTSET)


def is_ours(line):
    """Whether a line of a traceback is in the pack."""
    return any(f'"{ROOT / name}/' in line for name in ("nodes", "mcdm_core"))


def outcome_of(problems):
    """Whose exception it was where it was one."""
    raised = [problem["extra_info"] for problem in problems if problem["type"] in RAISED]
    if not raised:
        return "refused"
    ours = any(is_ours(line) or "validate_inputs()" in str(info) for info in raised for line in info["traceback"])
    return "the pack's exception" if ours else "core's exception"


def test_drawn_prompts_are_run_or_refused(post, small_experts, examples, record_property):
    good, outcomes = list(prompts(small_experts)), Counter()
    assert [post(prompt).outcome for prompt in good] == ["accepted"] * len(good)

    @examples(300)
    @given(drawn_mutants(good))
    def is_run_or_refused(mutant):
        memory = reset_peak()
        found = post(mutant.prompt)
        note(f"{mutant.change}: {found}")
        assert peak() - memory < MOST_BYTES
        outcomes[found.outcome] += 1
        assert found.outcome != "the pack's exception"
        assert found.calls <= CALLS

    is_run_or_refused()
    record_property("outcomes", dict(outcomes))
    assert outcomes["refused"] > outcomes.total() / 3
    assert [post(prompt).outcome for prompt in good] == ["accepted"] * len(good)


ENDLESS = [float("nan"), float("inf"), "NaN", "-inf", "1e999"]


@pytest.mark.parametrize("value", ENDLESS, ids=str)
@pytest.mark.parametrize(
    "place", [("sample", "denoise"), ("first", "weight"), ("second", "reliability"), ("second", "end")], ids=str
)
def test_numbers_that_are_none_are_refused(post, small_experts, place, value):
    key, name = place
    prompt = painted(small_experts)
    prompt[key]["inputs"][name] = value
    (said,) = (error for error in post(prompt).problems[key] if error["type"] == VALIDATED)
    assert f"Expected a number for {name}, " in said["details"]

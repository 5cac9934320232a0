"""Whatever is posted is run or refused in a sentence, in few calls, and the server stays as it was."""

import json
import urllib.error
from collections import Counter

import numpy as np
import psutil
import pytest
from hypothesis import given, note

from ..support.server.posts import VALIDATED
from ..support.server.posts import prompt_node as node
from ..support.server.prompt_mutants import drawn_mutants, mutants
from ..support.server.prompts import product, sweep

COUNT, SEED = 300, 14
COUNTS_CALLS = True  # of the server, see `test_server.server`
CALLS, MEGABYTES = 1_000_000, 100  # a good prompt takes 100,000 at most
RAISED = ("exception_during_validation", "exception_during_inner_validation")


def prompts(names):
    """Between them every kind of node that POST checks."""
    caption = node("MCDM_EncodeText", encoder=["skin", 1], text="a smiling man")
    drawn = {"mode": "edges of a picture", "low_threshold": 100, "high_threshold": 200}
    encoders = {
        "text": caption,
        "sketch": node("MCDM_EncodeSketch", encoder=["skin", 1], image=["map", 0], **drawn),
        "class": node("MCDM_EncodeClass", encoder=["skin", 1], class_name="owl", null_kind="class 0"),
    }
    yield product(names)
    yield product(names, sample=sweep(), save=node("SaveImage", images=["sample", 1], filename_prefix="sweep"))
    for kind, encode in encoders.items():
        yield product(names, **{"skin": node("MCDM_LoadExpert", expert_name=names[kind]), "skin map": encode})
    where = {"address": "127.0.0.1:1", "worker": "one", "timeout": 5.0, "graph": ""}
    yield product(names, first=node("MCDM_ExpertRemote", **product(names)["first"]["inputs"], **where))
    parts = {
        "guider": node("MCDM_Guider", experts=["second", 0]),
        "noise": node("MCDM_RandomNoise", noise_seed=1, temperature=1.0),
        "sampler": node("MCDM_SamplerDDIM", eta=1.0),
        "sigmas": node("MCDM_Sigmas", model=["hair", 0], spacing="3", denoise=1.0),
    }
    wired = {"noise": ["noise", 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "latent_image": ["latent", 0]}
    yield product(names, **parts, sample=node("SamplerCustomAdvanced", guider=["guider", 0], **wired))
    several = {
        "latent": node("MCDM_EmptyLatent", encoder=["hair", 1], batch_size=2),
        "guider": node("MCDM_Guider", experts=["second", 0], scores=True),
        "run": node("SamplerCustomAdvanced", guider=["guider", 0], **wired),
    }
    logic = node("MCDM_Logic", operation="and", sharpness=1.0, prior=0.5, largest=2.0)
    yield product(names, **{**parts, **several, "sampler": logic, "sample": several["run"]})
    chosen = node("MCDM_Choose", experts=["second", 0], samples=["run", 0], count=1)
    yield product(names, **{**parts, **several}, sample=chosen)
    window = {"start": 0.0, "end": 1.0, "sigma_start": 0.0, "sigma_end": 0.0}
    policies = {
        "curved": node("MCDM_Schedule", experts=["second", 0], sigma_start=0.0, sigma_end=0.0, weight_curve="0: 1"),
        "fewer": node("MCDM_Passes", experts=["curved", 0], threshold=0.9, refresh=2, **window),
        "guider": node("MCDM_Guider", experts=["fewer", 0]),
    }
    run = node("SamplerCustomAdvanced", guider=["guider", 0], **wired)
    yield product(names, **{**parts, **policies}, sample=run)
    shown = node("MCDM_Inspect", experts=["second", 0], vae=["hair", 2], steps_shown="3", **wired)
    yield product(names, **parts, sample=shown)


def posted(server, prompt):
    """Status and body of a POST, and its calls; what is accepted is not run."""
    before = server.calls()
    try:
        server.queue(prompt)
        status, body = 200, ""
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode()
    calls = (server.calls() - before).answering
    if status == 200:
        server.request("/queue", {"clear": True})
        server.request("/interrupt", {})
    return status, body, calls


def outcome(status, body):
    """How a POST ended, and whose exception it was where it was one."""
    if status != 400:
        return "accepted" if status == 200 else "core's failure"
    problems = [problem for each in json.loads(body)["node_errors"].values() for problem in each["errors"]]
    raised = [problem["extra_info"] for problem in problems if problem["type"] in RAISED]
    if not raised:
        return "refused"
    ours = any("mcdm" in line or "validate_inputs()" in str(info) for info in raised for line in info["traceback"])
    return "the pack's exception" if ours else "core's exception"


def resident(server):
    return psutil.Process(server.process.pid).memory_info().rss / 1e6


def test_mutated_prompts_are_run_or_refused(server, small_experts, record_property):
    good = list(prompts(small_experts))
    assert [posted(server, prompt)[:2] for prompt in good] == [(200, "")] * len(good)
    (before,) = server.pictures(product(small_experts, seed=77))
    memory = resident(server)
    outcomes, bad = Counter(), []
    for mutant in mutants(good, SEED, COUNT):
        status, body, calls = posted(server, mutant.prompt)
        outcomes[outcome(status, body)] += 1
        if outcome(status, body) == "the pack's exception" or calls > CALLS:
            bad.append((mutant.change, calls, body))
    record_property("outcomes", dict(outcomes))
    assert not bad
    assert outcomes["refused"] > COUNT / 3
    assert resident(server) - memory < MEGABYTES
    assert "on_prompt_handler" not in server.log.read_text(encoding="utf-8")
    server.until(lambda: not server.get("/queue")["queue_running"], "the end of what was accepted")
    again = node("SaveImage", images=["decode", 0], filename_prefix="again")
    (after,) = server.pictures(product(small_experts, seed=77, save=again))
    assert np.array_equal(before, after)


@pytest.mark.long
def test_drawn_prompts_are_run_or_refused(server, small_experts, examples):
    @examples(60)
    @given(drawn_mutants(list(prompts(small_experts))))
    def is_run_or_refused(mutant):
        status, body, calls = posted(server, mutant.prompt)
        note(f"{mutant.change}: {status} {body}")
        assert outcome(status, body) != "the pack's exception"
        assert calls <= CALLS

    is_run_or_refused()
    assert server.process.poll() is None
    assert "on_prompt_handler" not in server.log.read_text(encoding="utf-8")


ENDLESS = [float("nan"), float("inf"), "NaN", "-inf", "1e999"]


@pytest.mark.parametrize("value", ENDLESS, ids=str)
@pytest.mark.parametrize(
    "place", [("sample", "denoise"), ("first", "weight"), ("second", "reliability"), ("second", "end")], ids=str
)
def test_numbers_that_are_none_are_refused(server, small_experts, place, value):
    key, name = place
    prompt = product(small_experts)
    prompt[key]["inputs"][name] = value
    status, body = server.refusal(prompt)
    (said,) = (error for error in json.loads(body)["node_errors"][key]["errors"] if error["type"] == VALIDATED)
    assert status == 400
    assert f"Expected a number for {name}, " in said["details"]


@pytest.mark.parametrize("seed", [-1, 2**64, float("nan"), "x", None])
def test_seeds_out_of_range_are_refused(server, small_experts, seed):
    status, body = server.refusal(product(small_experts, seed=seed))
    assert status == 400
    assert "sample" in json.loads(body)["node_errors"]

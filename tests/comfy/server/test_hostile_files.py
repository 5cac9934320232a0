"""Spoiled expert files at a server: each is run or refused in a sentence, by few calls, and nothing else changes."""

import shutil
import subprocess
import sys
import urllib.error
from collections import Counter

import numpy as np
import pytest

from ...support.memory import MEGABYTE, peak, reset_peak
from ..prompt.test_mutated_prompts import outcome
from ..support.server.comfyui_server import ROOT, Calls
from ..support.server.posts import prompt_node as node
from ..support.server.prompts import product

SEED = 14
COUNTS_CALLS = True  # of the server, see the fixture `server`
# A good file takes 150,000; the longest pickle, read twice, 4,000,000, or 9,600,000 if it were read to its end.
MOST_CALLS = 8_000_000
MOST_BYTES = 100 * MEGABYTE  # beyond what the server takes for a good expert


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory, request):
    """Files of both kinds."""
    folder = tmp_path_factory.mktemp("spoiled")
    count = str(request.config.getoption("--hostile-files"))
    command = [sys.executable, "-m", "tests.fuzz", "--write", str(folder), "--files", count, "--seed", str(SEED)]
    subprocess.run(command, cwd=ROOT, check=True)
    return sorted(folder.iterdir())


def loading(name: str) -> dict:
    """A prompt that loads an expert; its network is not asked, as each kind wants a condition of its own."""
    return {
        "load": node("MCDM_LoadExpert", expert_name=name),
        "latent": node("MCDM_EmptyLatent", encoder=["load", 1], batch_size=1),
        "sigmas": node("MCDM_Sigmas", model=["load", 0], spacing="3", denoise=1.0),
        "decode": node("VAEDecode", samples=["latent", 0], vae=["load", 2]),
        "show": node("PreviewImage", images=["decode", 0]),
        "levels": node("PreviewAny", source=["sigmas", 0]),
    }


def ended(entry: dict) -> str:
    """How a run ended, in one word, or the error that is none for users."""
    if entry["status"]["status_str"] == "success":
        return "loaded"
    (error,) = [told for event, told in entry["status"]["messages"] if event == "execution_error"]
    text = error["exception_message"].strip()
    is_sentence = error["exception_type"].endswith("CheckpointError") and "\n" not in text
    return "refused at the run" if is_sentence else f"{error['exception_type']}: {text}"


def attempt(server, path):
    """What became of a file, and the calls that its POST and its run took."""
    put = server.log.parent / "models" / "mcdm" / path.name
    shutil.copyfile(path, put)
    before, prompt_id = server.calls(), None
    try:
        prompt_id = server.queue(loading(path.name))
    except urllib.error.HTTPError as error:
        kind = outcome(error.code, error.read().decode())
    posted = (server.calls() - before).answering  # not what is asked of it until the run ends
    if prompt_id:
        kind = ended(server.wait(prompt_id))
    put.unlink()
    return kind, Calls(posted, (server.calls() - before).running)


def test_spoiled_files_are_loaded_or_refused(server, small_experts, spoiled, record_property):
    (before,) = server.pictures(product(small_experts, seed=78))
    reset_peak(server.process.pid)
    server.wait(server.queue(loading(small_experts["text"])))
    usual = peak(server.process.pid)
    outcomes, long = Counter(), []
    for path in spoiled:
        kind, calls = attempt(server, path)
        outcomes[kind] += 1
        long += [(path.name, calls)] * (max(calls) > MOST_CALLS)
    record_property("outcomes", dict(outcomes))
    record_property("megabytes", (peak(server.process.pid) - usual) / MEGABYTE)
    assert not long
    assert outcomes.keys() == {"loaded", "refused", "refused at the run"}
    assert peak(server.process.pid) < usual + MOST_BYTES
    again = node("SaveImage", images=["decode", 0], filename_prefix="again")
    (after,) = server.pictures(product(small_experts, seed=78, save=again))
    assert np.array_equal(before, after)

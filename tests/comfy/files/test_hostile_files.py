"""Spoiled expert files at the nodes: each is loaded or refused in a sentence, in few calls, and nothing else changes.

That they take little memory is tested of the core, with files of the same kinds.
"""

import shutil
import subprocess
import sys
from collections import Counter

import pytest
import torch

from ...support.calls import counted_calls
from ..support.server.comfyui_server import ROOT
from ..support.server.posts import said_of

pytestmark = pytest.mark.long
SEED = 14
# A good file takes 150,000; the longest pickle, read twice, 4,000,000, or 9,600,000 if it were read to its end.
MOST_CALLS = 8_000_000


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory, request):
    """Files of both kinds."""
    folder = tmp_path_factory.mktemp("spoiled")
    count = str(request.config.getoption("--hostile-files"))
    command = [sys.executable, "-m", "tests.fuzz", "--write", str(folder), "--files", count, "--seed", str(SEED)]
    subprocess.run(command, cwd=ROOT, check=True)
    return sorted(folder.iterdir())


@pytest.fixture
def attempt(node, host, core, base):
    """How the nodes that read a file end, at POST and in the run; its network is not asked."""

    def run(path):
        put = base / "models" / "mcdm" / path.name
        shutil.copyfile(path, put)
        posted = said_of(host, node, "MCDM_LoadExpert", expert_name=path.name) is True
        try:
            model, encoder, vae = node("MCDM_LoadExpert", expert_name=path.name)
            node("MCDM_Sigmas", model=model, spacing="3", denoise=1.0)
            vae.decode(node("MCDM_EmptyLatent", encoder=encoder, batch_size=1)[0]["samples"])
        except core.checkpoints.CheckpointError as error:
            said = "in several lines" if "\n" in str(error) else "at the run" if posted else "at POST"
            return f"refused {said}"
        finally:
            put.unlink()
        return "loaded" if posted else "loaded, though refused at POST"

    return run


def test_spoiled_files_are_loaded_or_refused(attempt, spoiled, load, chain, sample, record_property):
    before = sample(chain(load("hair")))
    outcomes, long = Counter(), []
    for path in spoiled:
        with counted_calls() as counted:
            outcomes[attempt(path)] += 1
        long += [(path.name, counted.count)] * (counted.count > MOST_CALLS)
    record_property("outcomes", dict(outcomes))
    assert not long
    assert outcomes.keys() == {"loaded", "refused at POST", "refused at the run"}
    assert torch.equal(sample(chain(load("hair"))), before)

"""One process at a time works in a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from mcdm_core.system.failures import ForeseenError
from mcdm_core.system.lock import locked

ROOT = Path(__file__).parents[3]
HOLD = """
import os, sys
from pathlib import Path
from mcdm_core.system.lock import locked
with locked(Path(sys.argv[1])):
    child = os.fork() if hasattr(os, "fork") else None
    if not child:  # what was forked, if anything: it has closed its file by now
        print("locked", flush=True)
    os.read(0, 1)  # until the test lets go, or is killed
    os._exit(0)
"""


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path):
    folder = tmp_path / "runs" / "mine"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline().strip() == "locked"
            with (
                pytest.raises(ForeseenError, match=rf"in use by another run \(process {other.pid}\); wait"),
                locked(folder),
            ):
                pass
            assert folder.exists()  # it is the other's
        finally:
            other.kill()
        other.wait()
        check_free(folder)  # though what was forked still runs, as long as its stdin is open


def check_free(folder):
    with locked(folder):
        (folder / "state.pt").touch()
    assert [path.name for path in folder.iterdir()] == ["state.pt"]


def test_a_folder_that_stays_empty_is_removed_as_far_as_it_was_made(tmp_path):
    with locked(tmp_path / "runs" / "mine"):
        assert (tmp_path / "runs" / "mine").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_free_after_a_failure_in_it(tmp_path):
    def fail():
        with locked(tmp_path / "mine"):
            (tmp_path / "mine" / "state.pt").touch()
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()

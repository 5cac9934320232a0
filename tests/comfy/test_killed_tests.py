"""A ComfyUI that tests start ends with them, also where they are killed; see tests/core/test_started_processes.py."""

import psutil
import pytest

from ..support.processes import is_at_work, start, stop
from ..support.watchdog import wait_until
from .support.comfyui_server import ROOT

TESTS = f"""
import sys, threading
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tests.comfy.support.comfyui_server import started
with started(Path(sys.argv[1]), Path(sys.argv[2])):
    print("answers", flush=True)
    threading.Event().wait()
"""


@pytest.mark.long
def test_a_comfyui_ends_where_the_tests_are_killed(comfyui, tmp_path):
    script, log, folder = tmp_path / "run.py", tmp_path / "run.log", tmp_path / "server"
    script.write_text(TESTS, encoding="utf-8")
    for name in ("models", "input"):
        (folder / name).mkdir(parents=True)
    with log.open("w") as output:
        tests = start([script, comfyui, folder], output)
    try:
        wait_until(lambda: "answers" in log.read_text(), "a server", tests, log.read_text)
        (server,) = psutil.Process(tests.pid).children()
        tests.kill()
        wait_until(lambda: not is_at_work(server), "the end of the server")
    finally:
        stop(tests)

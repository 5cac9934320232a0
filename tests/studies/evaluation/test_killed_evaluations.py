"""The processes that draw samples end with the one that evaluates, also where it is killed."""

import os
from pathlib import Path

import psutil
import pytest

from ...support.evaluations import write_small
from ...support.processes import is_at_work, start, stop
from ...support.watchdog import wait_until

ROOT = Path(__file__).parents[3]
COUNT = 2000  # pictures; the evaluation is killed once it has drawn some
EVALUATION = f"""
import sys
from pathlib import Path
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.sampling import draw_samples
if __name__ == "__main__":
    setting = Setting("hair", (TermConfig("hair", ("hair",)),), steps=20)
    data = DataConfig("faces", seed=23_000_000, count={COUNT})
    draw_samples(setting, data, {{"hair": Path(sys.argv[1])}}, {COUNT}, Path(sys.argv[2]), workers=2)
"""


@pytest.mark.long
def test_processes_that_draw_end_where_the_evaluation_is_killed(tmp_path):
    write_small(tmp_path / "experts", "hair", {"kind": "map", "map": "hair"}, {"map_channels": 1})
    script, log, samples = tmp_path / "evaluation.py", tmp_path / "evaluation.log", tmp_path / "samples"
    script.write_text(EVALUATION, encoding="utf-8")
    arguments = [script, tmp_path / "experts" / "hair.safetensors", samples]
    with log.open("w") as output:
        evaluation = start(arguments, output, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: list(samples.glob("*.npy")), "a batch", evaluation, log.read_text)
        processes = psutil.Process(evaluation.pid).children()
        assert len(processes) >= 2
        evaluation.kill()
        wait_until(lambda: not any(map(is_at_work, processes)), "the end of the processes that draw")
    finally:
        stop(evaluation)
    assert len(list(samples.glob("*.npy"))) < COUNT / 20

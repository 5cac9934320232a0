"""Trainings as ComfyUI runs them: in inference mode, with what was loaded there."""

import shutil

import pytest
import torch


@pytest.fixture
def given(node):
    """Inputs of the node, see `support/trainings.py`."""
    from ..support.trainings import inputs

    def make(*args, **changes):
        with torch.inference_mode():
            return inputs(node, *args, **changes)

    return make


@pytest.fixture
def train(node):
    """Run the node on its inputs."""

    def run(inputs):
        with torch.inference_mode():
            return node("MCDM_TrainLora", **inputs)

    return run


@pytest.fixture(autouse=True)
def no_earlier_runs(base):
    yield
    shutil.rmtree(base / "output" / "mcdm_loras", ignore_errors=True)

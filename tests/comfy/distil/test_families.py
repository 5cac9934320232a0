"""ComfyUI's families can learn: a step gives a gradient for each of the layers that a network calls."""

from types import SimpleNamespace

import comfy.supported_models
import pytest
import torch

from ..support.families import FAMILIES, small

REFUSED = {
    *("ACEStep", "Anima", "CosmosI2VPredict2", "CosmosT2IPredict2", "ErnieImage"),  # kernels without a gradient
    *("HiDreamO1", "JoyImage"),  # a tensor that is kept from inference mode; results written into given memory
    *("LTXV", "PiD", "PixelDiTT2I"),  # change in place what a layer that learns has read
}
"""Families that core's networks let no gradient through, on the CPU at least."""


@pytest.mark.one_of(18)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_gives_gradients(pack, host, name):
    if not hasattr(comfy.supported_models, name):
        pytest.skip("not in this core")
    distil = host.distil
    with torch.inference_mode():
        row = FAMILIES[name]
        model = small.network(name, row, 1)
        prompt = small.condition(row, 11)
        before = {key: value.clone() for key, value in model.model.state_dict().items()}
    shapes = distil.learning_layers.shapes_of(model)
    with torch.inference_mode(False), torch.enable_grad():
        student = distil.student.GuidedStudent(model, [prompt], (2, *row.latent), None)
        factors = distil.learning_layers.Factors(shapes, 2).to(student.device)
        shape = row.latent
        task = SimpleNamespace(
            student=student,
            level=lambda progress: 2.0,
            noise=lambda count, generator: torch.randn(count, *shape, generator=generator).to(student.device),
            device=student.device,
            shape=shape,
            trained=[0],
        )
        refusal = ""
        try:
            distil.trial.try_step(task, factors, student.called, 2)
        except ValueError as error:
            refusal = str(error)
        finally:
            student.end()
    assert all(torch.equal(value, before[key]) for key, value in model.model.state_dict().items())
    if refusal:
        assert name in REFUSED
        assert refusal.startswith("Expected a student that gives gradients, and it has none (")
        return
    assert 0.5 * len(shapes) < len(factors.layers) <= len(shapes)

"""One expert at weight w is ComfyUI's own KSampler at cfg = w, bit for bit."""

import comfy.k_diffusion.sampling
import comfy.samplers
import pytest
import torch

from ..support.core_samplers import core_ksampler


@pytest.fixture
def added(pack, monkeypatch) -> str:
    """A sampler that core's list has since this pack was loaded, as another pack or a newer core adds one."""

    def heun_then_euler(model, x, sigmas, **more):
        middle = len(sigmas) // 2
        x = comfy.k_diffusion.sampling.sample_heun(model, x, sigmas[: middle + 1], **more)
        return comfy.k_diffusion.sampling.sample_euler(model, x, sigmas[middle:], **more)

    monkeypatch.setattr(comfy.k_diffusion.sampling, "sample_heun_then_euler", heun_then_euler, raising=False)
    monkeypatch.setattr(comfy.samplers.KSampler, "SAMPLERS", [*comfy.samplers.KSampler.SAMPLERS, "heun_then_euler"])
    return "heun_then_euler"


@pytest.mark.parametrize("node_id", ["MCDM_KSampler", "MCDM_ReliabilitySweep"])
def test_a_sampler_added_to_cores_list_is_offered(node, added, node_id):
    _, settings = node.classes[node_id].INPUT_TYPES()["required"]["sampler_name"]
    assert settings["options"][-1] == added


def test_a_sampler_added_to_cores_list_runs(load, chain, sample, added):
    expert, latent = load("hair"), {"samples": torch.zeros(2, 3, 32, 32)}
    ours = sample(chain((expert, {"weight": 2.5})), latent, added, steps=4)
    assert torch.equal(ours, core_ksampler(expert.model, expert, 2.5, added, latent))
    assert not torch.equal(ours, sample(chain((expert, {"weight": 2.5})), latent, "euler", steps=4))

"""Empty latents of nodes that don't know the model take its size, as they do in ComfyUI's own sampler nodes."""

import comfy.samplers
import comfy_extras.nodes_ace as ace
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from comfy.cli_args import args

import nodes

from ..support.core_samplers import core_ksampler
from ..support.families.spaces import expert_in


def empty_picture():
    """128 × 128 pixels."""
    return nodes.EmptyLatentImage().generate(128, 128, 2)[0]


def empty_audio():
    return ace.EmptyAceStep15LatentAudio.execute(seconds=4.0, batch_size=2).args[0]


SPACES = [
    ("Flux2", empty_picture, (2, 128, 8, 8)),
    ("ChromaRadiance", empty_picture, (2, 3, 128, 128)),
    ("Wan21", empty_picture, (2, 16, 1, 16, 16)),
    ("StableAudio1", empty_audio, (2, 64, 86)),
]


@pytest.mark.parametrize(("space", "empty", "shape"), SPACES, ids=[space for space, *_ in SPACES])
def test_ksampler(chain, node, space, empty, shape):
    expert, latent = expert_in(space, 1), empty()
    settings = {"seed": 5, "steps": 4, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    (out,) = node("MCDM_KSampler", experts=chain((expert, {"weight": 2.0})), latent_image=latent, **settings)
    assert torch.equal(out["samples"], core_ksampler(expert.model, expert, 2.0, latent=latent))
    assert out["samples"].shape == shape
    assert out.keys() == latent.keys() - {"downscale_ratio_spacial", "downscale_ratio_temporal"}


def test_pixel_experts_draw_in_the_size_of_an_empty_latent(load, chain, node):
    expert, (latent,) = load("hair"), nodes.EmptyLatentImage().generate(32, 32, 1)
    settings = {"seed": 5, "steps": 2, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    (out,) = node("MCDM_KSampler", experts=chain(expert), latent_image=latent, **settings)
    assert out["samples"].shape == (1, 3, 32, 32)


def test_ksampler_gives_out_the_dtype_that_the_user_chose(chain, node, monkeypatch):
    expert, latent = expert_in("Flux2", 1), empty_picture()
    settings = {"seed": 5, "steps": 4, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    monkeypatch.setattr(args, "fp16_intermediates", True)
    (out,) = node("MCDM_KSampler", experts=chain((expert, {"weight": 2.0})), latent_image=latent, **settings)
    assert out["samples"].dtype == torch.float16
    assert torch.equal(out["samples"], core_ksampler(expert.model, expert, 2.0, latent=latent))


def test_inspect(chain, node, load):
    expert = expert_in("ChromaRadiance", 1)
    experts = chain((expert, {"weight": 2.0}))
    (guider,) = node("MCDM_Guider", experts=experts)
    given = {
        "noise": custom.Noise_RandomNoise(3),
        "sampler": comfy.samplers.sampler_object("euler"),
        "sigmas": torch.tensor([1.0, 0.5, 0.0]),
        "latent_image": empty_picture(),
    }
    expected = custom.SamplerCustomAdvanced.execute(guider=guider, **given).args[0]
    found = node("MCDM_Inspect", experts=experts, vae=load("hair").vae, steps_shown="2", **given)[0]
    assert found["samples"].shape == (2, 3, 128, 128)
    assert torch.equal(found["samples"], expected["samples"])
    assert found.keys() == expected.keys()


def test_sweep(chain, node, load):
    expert, other, latent = expert_in("ChromaRadiance", 1), expert_in("ChromaRadiance", 2), empty_picture()
    settings = {"steps": 2, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    widgets = {"expert_index": 2, "values": "0.25", "vary": "reliability", "guidance": "1", "seed": 5, "seeds": 1}
    experts = chain(expert, other)
    out, _ = node(
        "MCDM_ReliabilitySweep", experts=experts, latent_image=latent, vae=load("hair").vae, **widgets, **settings
    )
    mixed = chain((expert, {"reliability": 0.75}), (other, {"reliability": 0.25}))
    (expected,) = node("MCDM_KSampler", experts=mixed, seed=5, latent_image=latent, **settings)
    assert out["samples"].shape == (2, 3, 128, 128)
    assert torch.equal(out["samples"], expected["samples"])
    assert out.keys() == expected.keys() == latent.keys() - {"downscale_ratio_spacial"}

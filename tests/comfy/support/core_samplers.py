"""ComfyUI's own samplers, as its nodes run them, and a sampler that is cancelled."""

import comfy.model_management
import comfy_extras.nodes_custom_sampler as custom
import torch

import nodes

LATENT = {"samples": torch.zeros(2, 3, 32, 32)}
SWEPT = {"expert_index": 2, "values": "0, 0.25, 1", "vary": "reliability", "guidance": "1", "seed": 5, "seeds": 2}
"""What Reliability Sweep is given in tests."""


def core_ksampler(model, expert, cfg, sampler_name="euler", latent=LATENT, denoise=1.0, scheduler="normal"):
    settings = (5, 4, cfg, sampler_name, scheduler, expert.condition, expert.null, latent)
    return nodes.common_ksampler(model, *settings, denoise=denoise)[0]["samples"]


def custom_sampler(guider):
    sampler, sigmas = custom.KSamplerSelect().get_sampler("euler")[0], torch.tensor([20.0, 3.0, 0.5, 0.0])
    out, _ = custom.SamplerCustomAdvanced().sample(custom.Noise_RandomNoise(5), guider, sampler, sigmas, LATENT)
    return out["samples"]


def cancelled_at(step):
    """A sampler function that the user cancels before the pass of a step."""

    def sampler(model, x, sigmas, extra_args, callback, disable):
        for i in range(step + 1):
            if i == step:
                comfy.model_management.interrupt_current_processing()
            x = model(x, sigmas[i].expand(len(x)), **extra_args)
        return x

    return sampler

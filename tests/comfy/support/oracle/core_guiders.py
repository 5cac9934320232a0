"""The product of experts by core's own guiders: one per expert, each prepared by core and run inside the other's run.

All attachments to a MODEL, including wrappers around its run, act as in core.
"""

from itertools import pairwise

import comfy.model_patcher
import comfy.samplers
import torch


def core_guider(expert, cfg=None, model=None):
    """Core's guider of one expert, at its weight or another cfg, on its MODEL or on one that has taken its place."""
    guider = comfy.samplers.CFGGuider(model or expert.model)
    guider.set_conds(expert.condition, expert.null)
    guider.set_cfg(expert.weight if cfg is None else cfg)
    return guider


@torch.no_grad()
def sample_by_core_guiders(experts, noise, sigmas, asked=(), latent=None):
    """Euler's steps on Eq. 10 in float64.

    Args:
        experts: Of one schedule and latent space, on networks of their own.
        noise: Start noise, a tensor or nested.
        sigmas: Descending noise levels.
        asked: The experts whose guiders wait in the first step of their runs, each with a function that asks it.
        latent: Start of the run; None is zeros.
    """
    expert = experts[len(asked)]
    samples = []

    def function(model, x, all_sigmas, extra_args, callback, disable):
        mine = [*asked, (expert, _asking(model, extra_args))]
        if len(mine) < len(experts):
            samples.append(sample_by_core_guiders(experts, noise, sigmas, mine, latent))
            return x
        for sigma, following in pairwise(all_sigmas):
            denoised = _combine([(expert, ask(x, sigma.expand(len(x)))) for expert, ask in mine])
            x = x + (x - denoised) / sigma * (following - sigma)
        return x

    start = torch.zeros_like(noise) if latent is None else latent
    own = core_guider(expert).sample(noise, start, comfy.samplers.KSAMPLER(function), sigmas, disable_pbar=True, seed=3)
    return samples[0] if samples else own


def _asking(model, extra_args):
    """A function that gives x0 under the condition and under the null, from one call of core's guider.

    All calls have one `model_options`, as core's samplers have it: what nodes keep there lasts as long as the run.
    """
    seen = {}

    def keep(args):
        seen.update(cond=args["cond_denoised"].double(), null=args["uncond_denoised"].double())
        return args["denoised"]

    options = comfy.model_patcher.create_model_options_clone(extra_args["model_options"])
    options = comfy.model_patcher.set_model_options_post_cfg_function(options, keep, disable_cfg1_optimization=True)

    def both(x, sigma):
        model(x, sigma, **{**extra_args, "model_options": options})
        return seen

    return both


def _combine(predictions):
    total = sum(expert.reliability for expert, _ in predictions)
    unconditional = sum(expert.reliability / total * seen["null"] for expert, seen in predictions)
    guidance = sum(expert.weight * (seen["cond"] - unconditional) for expert, seen in predictions)
    return (unconditional + guidance).float()

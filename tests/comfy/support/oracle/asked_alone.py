"""One expert's prediction, from a run of its own."""

import torch


def asked_alone(chain, node, expert, condition, x, sigma):
    """x0 of one expert at one noise level, under a condition, or under its null given as the condition.

    Args:
        chain: The fixture.
        node: The fixture.
        expert: A loaded expert.
        condition: CONDITIONING.
        x: The point, shape (B, C, H, W).
        sigma: σ.
    """
    import comfy.samplers

    kept = []

    def once(model, x_start, sigmas, extra_args, callback, disable):
        kept.append(model(x.to(x_start), x_start.new_full((len(x),), sigma), **extra_args))
        return x_start

    (guider,) = node("MCDM_Guider", experts=chain((expert, {"condition": condition, "weight": 1.0})))
    zero = torch.zeros_like(x)
    guider.sample(zero, zero, comfy.samplers.KSAMPLER(once), torch.tensor([sigma, 0.0]), seed=1)
    return kept[0].to(x)

"""Products across latent spaces, in ComfyUI, against a plain loop over runs of each expert alone."""

import math

import pytest
import torch

from .support.asked_alone import asked_alone
from .test_own_null import unclamped

LEVELS = (8.0, 2.0, 0.6, 0.0)


def pictures_of(vae, samples, size):
    """What ComfyUI's own VAE makes of samples, in another size, shape (B, H, W, 3)."""
    pictures = vae.decode(samples).movedim(-1, 1)
    if pictures.shape[-1] != size:
        pictures = torch.nn.functional.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
    return pictures.movedim(1, -1)


class Plain:
    """The joint state in plain loops.

    Args:
        groups: For each space its VAE, the shape of its samples, the side of its pictures, and its experts, each with
            its weight and its reliability.
    """

    def __init__(self, chain, node, groups):
        self.chain, self.node, self.groups = chain, node, groups
        self.kappa = [g["shape"][-1] / groups[0]["shape"][-1] for g in groups]

    def carried(self, source, target, x0):
        if source is target:
            return x0
        return target["vae"].encode(pictures_of(source["vae"], x0, target["side"])).to(x0)

    def denoised(self, parts, sigma):
        reference, total = self.groups[0], sum(a for g in self.groups for _, _, a in g["experts"])
        x0 = 0.0
        for group, part, kappa in zip(self.groups, parts, self.kappa, strict=True):
            point = kappa * part, kappa * sigma
            cond = [asked_alone(self.chain, self.node, e, e.condition, *point) for e, _, _ in group["experts"]]
            null = [asked_alone(self.chain, self.node, e, e.null, *point) for e, _, _ in group["experts"]]
            w, a = [w for _, w, _ in group["experts"]], [a / total for _, _, a in group["experts"]]
            for sign in (1, -1):
                own = [max(sign * each, 0.0) for each in w]
                if sum(own):
                    mean = sum(x / sum(own) * d for x, d in zip(own, cond, strict=True))
                    x0 = x0 + sign * sum(own) * self.carried(group, reference, mean)
            if abs(sum(a) - sum(w)) > 1e-6:
                mean = sum(x / sum(a) * d for x, d in zip(a, null, strict=True))
                x0 = x0 + (sum(a) - sum(w)) * self.carried(group, reference, mean)
        return [self.carried(reference, g, x0) / k for g, k in zip(self.groups, self.kappa, strict=True)]

    def euler(self, noise):
        parts = [
            math.hypot(1.0, LEVELS[0]) * each for each in noise
        ]  # as experts of this pack start, see their schedule
        for sigma, following in zip(LEVELS, LEVELS[1:], strict=False):
            clean = self.denoised(parts, sigma)
            parts = [d + following / sigma * (y - d) for y, d in zip(parts, clean, strict=True)]
        return parts


def own_noise(seed, place, shape):
    """The start noise of a space beside the first."""
    generator = torch.Generator().manual_seed(seed + place * 2**32)
    return torch.randn(*shape, generator=generator)


@pytest.mark.parametrize("first", ["pixels", "latents"])
def test_pixels_and_latents_in_one_picture_are_the_plain_loop(chain, node, load, load_latent, first):
    experts = {
        "pixels": [(unclamped(load("hair")), 2.0, 1.0), (unclamped(load("skin")), -0.5, 1.0)],
        "latents": [(load_latent("hair"), 1.5, 2.0), (load_latent("skin"), 0.7, 0.5)],
    }
    shapes = {"pixels": (1, 3, 32, 32), "latents": (1, 4, 8, 8)}
    sides = {"pixels": 32, "latents": 64}
    order = [first, next(name for name in experts if name != first)]
    groups = [{"vae": experts[n][0][0].vae, "shape": shapes[n], "side": sides[n], "experts": experts[n]} for n in order]
    chained = chain(
        *((e, {"weight": w, "reliability": a, "vae": e.vae}) for group in groups for e, w, a in group["experts"])
    )
    noise = torch.randn(shapes[first], generator=torch.Generator().manual_seed(2))
    (guider,) = node("MCDM_Guider", experts=chained)
    import comfy.samplers

    found = guider.sample(
        noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), torch.tensor(LEVELS), seed=9
    )
    expected = Plain(chain, node, groups).euler([noise, own_noise(9, 1, shapes[order[1]])])[0]
    assert (found - expected).abs().max() <= 2e-4 * expected.abs().max()

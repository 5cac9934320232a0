"""Every kind of adapter that ComfyUI has, with random factors, as patches of a small network's weights."""

import math

import torch
from comfy.weight_adapter import BOFTAdapter, GLoRAAdapter, LoHaAdapter, LoKrAdapter, LoRAAdapter, OFTAdapter

RANK = 4


class Factors:
    """Draws the factors of a change of a weight that is about as large as the weight.

    Args:
        weight: The weight of a linear or convolutional layer.
        seed: Seed of the factors.
    """

    def __init__(self, weight, seed=0):
        self.shape = tuple(weight.shape)
        self.out, self.inside = self.shape[0], math.prod(self.shape[1:])
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, *shape, scale=1.0):
        return scale * torch.randn(*shape, generator=self._generator)

    def lora(self, alpha=None, mid=None, dora_scale=None):
        up, down = self.draw(self.out, RANK), self.draw(RANK, self.inside, scale=self.inside**-0.5 / 2)
        if mid is not None:
            down = self.draw(RANK, self.shape[1], 1, 1, scale=self.inside**-0.5 / 4)
            up = up[..., None, None]
        elif len(self.shape) > 2:
            up, down = up.reshape(*up.shape, *[1] * (len(self.shape) - 2)), down.reshape(RANK, *self.shape[1:])
        return LoRAAdapter(set(), (up, down, alpha, mid, dora_scale, None))

    def tucker(self):
        return self.lora(mid=self.draw(RANK, RANK, *self.shape[2:]), alpha=2.0)

    def dora(self):
        return self.lora(dora_scale=self.draw(self.out, *[1] * (len(self.shape) - 1)).abs() + 0.5)

    def loha(self):
        pairs = [[self.draw(self.out, RANK), self.draw(RANK, self.inside)] for _ in range(2)]
        pairs[0][0] = pairs[0][0] * (self.inside**-0.5 / RANK)
        return LoHaAdapter(set(), (*pairs[0], 2.0, *pairs[1], None, None, None))

    def lokr(self):
        first = self.draw(4, 4, scale=0.5)
        second = self.draw(self.out // 4, self.shape[1] // 4, *self.shape[2:], scale=self.inside**-0.5)
        return LoKrAdapter(set(), (first, second, None, None, None, None, None, None, None))

    def oft(self):
        return OFTAdapter(set(), (self.draw(self.out // 8, 8, 8, scale=0.2), None, None, None))

    def boft(self):
        return BOFTAdapter(set(), (self.draw(2, self.out // 4, 4, 4, scale=0.2), None, 0.0, None))

    def glora(self):
        inner = [self.draw(self.inside, RANK, scale=self.inside**-0.5), self.draw(RANK, self.inside, scale=0.3)]
        outer = [self.draw(self.out, RANK), self.draw(RANK, self.inside, scale=self.inside**-0.5 / 4)]
        return GLoRAAdapter(set(), (*inner, *outer, None, None))

    def difference(self):
        return ("diff", (self.draw(*self.shape, scale=0.4 * self.inside**-0.5 if self.inside > 1 else 0.2),))

    def replacement(self):
        return ("set", (self.draw(*self.shape, scale=self.inside**-0.5),))


def patched(model, patches, strength=1.0, strength_model=1.0):
    """A clone of a MODEL with these patches."""
    other = model.clone()
    assert set(other.add_patches(patches, strength, strength_model)) == set(patches)
    return other


def adapted(model, kind, ending, seed=0, strength=1.0, strength_model=1.0):
    """A clone with one kind of adapter on all weights whose names have this ending."""
    weights = model.model.state_dict()
    names = [name for name in weights if name.startswith("diffusion_model.") and name.endswith(ending)]
    assert names
    made = {name: getattr(Factors(weights[name], seed + place), kind)() for place, name in enumerate(names)}
    return patched(model, made, strength, strength_model)

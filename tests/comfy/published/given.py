"""What the experts are given in these tests, and how they are drawn."""

import sys

import torch

TEXTS = ("a red panda on a rock", "a lighthouse at night")


LINK = ["somewhere", 0]


def half(kind, size=32):
    mask = torch.zeros(1, size, size)
    mask[..., : size // 2] = 1.0
    return mask if kind == "face" else mask.transpose(1, 2)


def picture(seed=0, size=32):
    return torch.rand(1, size, size, 3, generator=torch.Generator().manual_seed(seed))


def condition_of(conditioning):
    read = sys.modules["mcdm_pack.nodes.host.files.conditioning"].read_condition
    ((tokens, values),) = conditioning
    return read(values, tokens)


def draw(sample, experts, size=32, steps=2):
    return sample(experts, {"samples": torch.zeros(1, 3, size, size)}, "euler", steps)

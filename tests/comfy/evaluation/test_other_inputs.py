"""Models that read different pictures beside the noise, as Flux Fill and Flux Depth, in one product (ComfyUI#5783)."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ..support.families import FAMILIES, small
from ..support.families.family import WIDTH, pooled
from ..support.oracle.core_guiders import core_guider


@pytest.fixture(scope="module")
def pair(pack):
    """A small Flux Fill, which reads a picture and a mask, and a small Flux Depth, which reads a picture."""

    def expert(name, row, seed, guidance):
        prompt = small.condition(row, seed)
        prompt[0][1]["guidance"] = guidance
        return SimpleNamespace(model=small.network(name, row, seed), condition=prompt, null=None)

    fill = FAMILIES["FluxInpaint"]
    depth = replace(
        FAMILIES["Flux"],
        unet_config={**FAMILIES["Flux"].unet_config, "in_channels": 32},
        values=lambda draw: {**pooled(WIDTH)(draw), "concat_latent_image": draw(1, *fill.latent)},
    )
    return SimpleNamespace(
        fill=expert("FluxInpaint", fill, 1, 30.0), depth=expert("Flux", depth, 2, 10.0), latent=fill.latent
    )


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.3, 0.7)])
def test_each_reads_its_own_picture(node, chain, sampled, pair, weights):
    """Weights that sum to 1 need no null, and the product is the mean of what each predicts by itself."""

    def predicted(guider):
        return sampled(guider, shape=(1, *pair.latent), sigmas=torch.tensor([0.9, 0.0]))

    experts = chain(*((e, {"weight": w}) for e, w in zip((pair.fill, pair.depth), weights, strict=True)))
    found = predicted(node("MCDM_Guider", experts=experts)[0])
    fill, depth = (
        predicted(core_guider(SimpleNamespace(model=e.model, condition=e.condition, null=e.condition), 1.0))
        for e in (pair.fill, pair.depth)
    )
    assert (fill - depth).abs().max() > 1e-2
    torch.testing.assert_close(found, weights[0] * fill + weights[1] * depth, atol=1e-5, rtol=0)

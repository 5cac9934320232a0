"""The product as a MODEL in core's KSampler, on networks of the SD1.5, SDXL, SD2-v and SD3 layouts."""

import pytest
import torch

from ..support.core_samplers import core_ksampler
from ..support.oracle.networks import network
from ..support.oracle.variants import Cast, expert_of


@pytest.fixture(scope="module")
def expert(pack):
    """An expert of a layout with something attached, for a place in a chain."""
    cast, sdxl = Cast(), network("SDXL", 4)

    def make(layout, attachment, place):
        return expert_of(sdxl, place) if layout == "SDXL" else cast.expert(layout, attachment, place)

    return make


@pytest.mark.one_of(12)
@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize(
    ("layout", "attachment"),
    [
        ("eps", "plain"),
        ("eps", "LoRA clone"),
        ("eps", "ControlNet"),
        ("eps", "hooked LoRA schedule"),
        ("SDXL", "plain"),
        ("v", "patched attention"),
        ("flow", "plain"),
        ("flow", "LoRA clone"),
        ("flow", "ControlNet"),
    ],
)
def test_equals_mcdm_ksampler(expert, chain, sample, product, layout, attachment, cfg):
    """Beside an expert on the same network and one on another."""
    first = expert(layout, attachment, 0)
    others = [(other, vars(other)) for other in (expert(layout, "plain", 1), expert("v", "LoRA", 2))]
    latent = {"samples": torch.zeros(2, 4, 8, 12)}
    ours = core_ksampler(product(first, chain(*others), first.reliability), first, cfg, "dpmpp_2m", latent)
    theirs = sample(chain((first, {**vars(first), "weight": cfg}), *others), latent, "dpmpp_2m", steps=4)
    assert theirs.isfinite().all()
    assert torch.equal(ours, theirs)

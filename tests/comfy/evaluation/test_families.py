"""Every family of networks that ComfyUI has and that can be built small, in products, against brute force.

The tables are in `support/families`. A family that the running core lacks is skipped.
"""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import comfy.supported_models
import pytest
import torch

from ..support.clones import lora_on
from ..support.closeness import AGREEMENT, rounded
from ..support.families import FAMILIES, LEFT_OUT, small
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.through_core import ThroughCore
from ..support.oracle.variants import Expert
from ..support.small_runs import sampled

ROUNDED = 3e-4  # where the first level is 500 or above: float32 rounds x by 3e-5 to 3e-4 before it shrinks
SEED = 3


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, pack):
    """Experts of one family: A, the same network beside it with a LoRA, A with the LoRA, and another network B.

    The product gets the LoRA on a clone of A, brute force a network that shares nothing with A.
    """
    name, row = request.param, FAMILIES[request.param]
    first, copy, other = (small.network(name, row, seed) for seed in (1, 1, 2))
    clone, lora_copy = (lora_on(model, 5, 0.5) for model in (first, copy))
    prompts = [small.condition(row, seed) for seed in (11, 12)]

    def expert(model, prompt=0, **settings):
        return Expert(model, prompts[prompt], small.null(row), **settings)

    return SimpleNamespace(
        name=name,
        latent=row.latent,
        highest_level=float(first.get_model_object("model_sampling").sigma_max),
        first=expert(first, weight=1.6),
        prompted=expert(first, 1, weight=0.9, reliability=2.0),
        lora=expert(clone, 1, weight=0.9, reliability=2.0),
        lora_copy=expert(lora_copy, 1, weight=0.9, reliability=2.0),
        other=expert(other, 1, weight=0.9, reliability=2.0),
    )


@pytest.fixture
def product_of(product_of, family):
    """Sample a chain with Product Guider."""
    return lambda *experts: product_of(experts, shape=(2, *family.latent))


def brute_force(family, *experts):
    return sampled(ThroughCore(experts, SEED), shape=(2, *family.latent))


def core_alone(family, expert, condition=None):
    """What CFGGuider makes of one expert, its weight as cfg."""
    alone = replace(expert, condition=condition or expert.condition)
    return sampled(core_guider(alone), shape=(2, *family.latent))


@pytest.fixture
def assert_agree(assert_agree, family):
    """Assert that two latents agree as closely as the family's noise levels let them."""
    return partial(assert_agree, within=rounded(ROUNDED if family.highest_level >= 500 else AGREEMENT))


def test_every_class_is_in_the_tables_or_left_out_for_a_reason(pack):
    assert {model.__name__ for model in comfy.supported_models.models} <= FAMILIES.keys() | LEFT_OUT.keys()


@pytest.mark.one_of(36)
def test_what_sets_experts_apart_matters(family):
    """Else agreement would say nothing about it."""
    alone = replace(family.first, weight=1.0)
    pictures = {
        "condition": core_alone(family, alone),
        "null": core_alone(family, alone, alone.null),
        "prompt": core_alone(family, replace(family.prompted, weight=1.0)),
        "LoRA": core_alone(family, replace(family.lora_copy, weight=1.0)),
        "network": core_alone(family, replace(family.other, weight=1.0)),
        "weight": core_alone(family, family.first),
    }
    for name, picture in list(pictures.items())[1:]:
        against = pictures["prompt" if name in ("LoRA", "network") else "condition"]
        assert (picture - against).abs().max() > 100 * AGREEMENT * against.std(), name


@pytest.mark.one_of(12)
@pytest.mark.parametrize(("second", "copy"), [("other", "other"), ("lora", "lora_copy"), ("prompted", "prompted")])
def test_two_networks_and_one_with_a_lora_or_two_prompts(family, product_of, assert_agree, second, copy):
    expected = brute_force(family, family.first, getattr(family, copy))
    assert_agree(product_of(family.first, getattr(family, second)), expected)


@pytest.mark.one_of(12)
def test_an_expert_behind_one_that_adds_nothing_is_cores_guider(family, product_of, assert_agree):
    idle = replace(family.other, weight=0.0, reliability=0.0)
    assert_agree(product_of(idle, family.first), core_alone(family, family.first))


@pytest.mark.one_of(12)
def test_one_expert_is_cores_guider_to_the_bit(family, product_of):
    assert torch.equal(product_of(family.first), core_alone(family, family.first))


@pytest.mark.one_of(12)
def test_a_mask_and_a_window(family, product_of, assert_agree):
    """Sounds and shapes have no height and no width, and so a window alone."""
    if len(family.latent) < 3:
        experts = family.first, replace(family.other, end=0.3)
        assert_agree(product_of(*experts), brute_force(family, *experts))
        with pytest.raises(ValueError, match=r"a height and a width for expert 2 .*; disconnect the mask"):
            product_of(family.first, replace(family.other, mask=torch.ones(1, 8, 8)))
        return
    frames = 1 if len(family.latent) == 3 else family.latent[1]
    mask = ramp(frames, *family.latent[-2:])
    experts = replace(family.first, mask=mask), replace(family.other, mask=1 - mask.flip(1), end=0.3)
    masked = brute_force(family, *(as_oracle_takes_it(family, expert) for expert in experts))
    assert_agree(product_of(*experts), masked)
    for part in ({"mask": None}, {"end": 1.0}):
        without = [as_oracle_takes_it(family, replace(expert, **part)) for expert in experts]
        assert (brute_force(family, *without) - masked).abs().max() > 100 * AGREEMENT * masked.std(), part


def ramp(frames, height, width):
    """A mask that rises from left to right, and from frame to frame; a part stays uncovered."""
    across = (torch.linspace(-0.5, 1.0, width) * 1.5).clamp(0, 1).expand(frames, height, width)
    return across * torch.arange(1, frames + 1)[:, None, None] / frames


def as_oracle_takes_it(family, expert):
    """Brute force takes masks of videos as (B, frames, H, W)."""
    videos = len(family.latent) == 4 and expert.mask is not None
    return replace(expert, mask=expert.mask[None]) if videos else expert

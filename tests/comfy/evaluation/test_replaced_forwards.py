"""Nodes that put a function of their own in place of a layer's `forward`, one that takes half of a batch for nulls."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ..support.clones import as_edm, lora_on
from ..support.closeness import assert_close
from ..support.families import FAMILIES
from ..support.families.small import condition, network, null
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.variants import Expert

LEVEL = 0.7
LATENT = (16, 2, 4, 6)


@pytest.fixture(scope="module")
def small(pack):
    """Small MODELs of Wan, and prompts."""
    row = FAMILIES["WAN21_T2V"]
    return SimpleNamespace(
        network=lambda: network("WAN21_T2V", row, 1),
        condition=lambda seed: condition(row, seed),
        null=null(row),
    )


def steered(model, text):
    """A clone whose attention to the text steers conditions away from another, as KJNodes' WanVideoNAG does.

    More rows than one are halved: the first half are taken for conditions, the second for nulls.
    """
    clone = model.clone()
    network = model.model.diffusion_model
    with torch.no_grad():
        away = network.text_embedding(text.to(next(network.text_embedding.parameters()).device))

    def replaced(forward):
        def halves(x, context, **more):
            half = (len(x) + 1) // 2
            first = forward(x[:half], context[:half], **more)
            first = 2 * first - forward(x[:half], away.to(x).expand(half, -1, -1), **more)
            return first if half == len(x) else torch.cat([first, forward(x[half:], context[half:], **more)])

        return halves

    for place, block in enumerate(network.blocks):
        clone.add_object_patch(f"diffusion_model.blocks.{place}.cross_attn.forward", replaced(block.cross_attn.forward))
    return clone


@pytest.fixture
def experts(small):
    """Two prompts on one steered MODEL, or each on one of its own that is its equal."""

    def make(weights=(1.6, 0.9), null=True, apart=False, lora=False):
        shared = small.network()

        def expert(place):
            model = steered(small.network() if apart else shared, small.condition(3)[0][0])
            model = lora_on(model, 8) if lora and place else model
            return Expert(model, small.condition(11 + place), small.null if null else None, weight=weights[place])

        made = [expert(0), expert(1)]
        return made if apart or lora else [made[0], replace(made[1], model=made[0].model)]

    return make


@pytest.mark.parametrize("cfg", [1.0, 2.5])
@pytest.mark.parametrize("batch", [1, 2])
def test_one_prompt_is_cores_guider(experts, product_of, sampled, cfg, batch):
    expert, shape = replace(experts()[0], weight=cfg), (batch, *LATENT)
    assert torch.equal(product_of([expert], shape=shape), sampled(core_guider(expert), shape=shape))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("lora", [False, True], ids=["one MODEL", "a LoRA clone"])
def test_two_prompts_with_their_nulls(experts, product_of, by_core, batch, lora):
    """Each is asked as core asks it, the null beside the condition."""
    theirs = by_core(experts(apart=True, lora=lora), shape=(batch, *LATENT))
    assert_close(product_of(experts(lora=lora), shape=(batch, *LATENT)), theirs)


def test_two_prompts_without_nulls(experts, product_of, sampled, caplog):
    """Weights that sum to 1 need none: D = w₁ D_A + w₂ D_B, each prediction made alone by core at cfg 1."""
    weights = (0.4, 0.6)
    once = {"shape": (1, *LATENT), "sigmas": torch.tensor([LEVEL, 0.0])}

    def one_pass(model, x, sigmas, extra_args, **_):
        return model(x, sigmas[:1], **extra_args)

    def alone(expert):
        return sampled(core_guider(replace(expert, null=expert.condition, weight=1.0)), one_pass, **once)

    expected = sum(w * alone(expert) for w, expert in zip(weights, experts(apart=True), strict=True))
    assert_close(product_of(experts(weights, null=False), one_pass, **once), expected)
    assert "connect negative" not in caplog.text  # nothing says that it reads one


def test_a_prompt_twice_is_one_prompt_at_the_sum_of_weights(experts, product_of, sampled):
    first, shape = experts()[0], (1, *LATENT)
    theirs = sampled(core_guider(replace(first, weight=2.5)), shape=shape)
    assert_close(product_of([first, replace(first, weight=0.9)], shape=shape), theirs)


def test_what_replaces_something_and_asks_no_more_rows(host, small):
    """A schedule, a setting, a layer with other weights and what is compiled run as what they replace."""
    replaces_forwards = host.evaluation.pairs.replaces_forwards
    model = small.network()
    block = model.model.diffusion_model.blocks[0]
    name = "diffusion_model.blocks.0"
    harmless = {
        "diffusion_model.patch_size": (1, 2, 2),
        f"{name}.cross_attn": copy.deepcopy(block.cross_attn),
        f"{name}.ffn": torch.compile(block.ffn, backend="eager"),
        f"{name}.self_attn.forward": torch.compile(block.self_attn.forward, backend="eager"),
    }
    clone = as_edm(model)
    for key, value in harmless.items():
        clone.add_object_patch(key, value)
    assert not replaces_forwards(clone)
    clone.patch_model(load_weights=False)
    assert not replaces_forwards(clone)  # while what it replaces is elsewhere
    clone.unpatch_model(unpatch_weights=False)
    for other in (torch.nn.Identity(), torch.compile(torch.nn.Identity(), backend="eager")):
        clone.add_object_patch(f"{name}.ffn", other)
        assert replaces_forwards(clone)

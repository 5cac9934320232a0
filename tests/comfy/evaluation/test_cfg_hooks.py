"""CFG hooks that ask the network, as PAG's: on a product they mean the first expert, on which they are attached."""

import comfy.samplers
import pytest
import torch

from ..support.attachments import alone, clone, null_of, unclamped
from ..support.cases import PLAIN_PASSES
from ..support.core_samplers import core_ksampler

LARGE = 100.0
AREA = torch.zeros(1, 32, 32)
AREA[:, 8:24] = 0.5


def asked_again(args, cond):
    """What the network answers if it is asked the same once more."""
    (found,) = comfy.samplers.calc_cond_batch(
        args["model"], [cond], args["input"], args["sigma"], args["model_options"]
    )
    return found


def post(args, change):
    return args["denoised"] + LARGE * change(args["cond_denoised"], asked_again(args, args["cond"]))


def post_in_place(args, change):
    args["denoised"] += LARGE * change(args["cond_denoised"], asked_again(args, args["cond"]))
    return args["denoised"]


def instead_of_guidance(args, change):
    guided = args["uncond"] + args["cond_scale"] * (args["cond"] - args["uncond"])
    return guided - LARGE * change(args["cond_denoised"], asked_again(args, args["input_cond"]))


def pre(args, change):
    """Where C moves by a share of the change, guidance by W = 4 moves by all of it."""
    cond, uncond = args["conds_out"]
    return [cond + LARGE / 4 * change(cond, asked_again(args, args["conds"][0])), uncond]


HOOKS = {
    "post": (post, "set_model_sampler_post_cfg_function"),
    "in place": (post_in_place, "set_model_sampler_post_cfg_function"),
    "instead": (instead_of_guidance, "set_model_sampler_cfg_function"),
    "pre": (pre, "set_model_sampler_pre_cfg_function"),
}
PRODUCTS = {
    "two networks": ({"weight": 1.5}, {"weight": 2.5}),
    "no trust in the first": ({"weight": 1.5, "reliability": 0.0}, {"weight": 2.5}),
    "weights that sum to 1": ({"weight": 0.6}, {"weight": 0.4}),
    "a mask": ({"weight": 1.5, "mask": AREA}, {"weight": 2.5}),
    "without the first": ({"weight": 1.5, "end": 0.1}, {"weight": 2.5}),
    "a mask alone": ({"weight": 4.0, "mask": AREA},),
}


def perturb_nothing(before, again):
    return before - again


def with_hook(expert, kind, change):
    other = clone(expert)
    hook, attach = HOOKS[kind]
    getattr(other.model, attach)(lambda args: hook(args, change))
    return other


def assert_unchanged(found, plain):
    torch.testing.assert_close(found, plain, atol=1e-2, rtol=0)  # 100 times what rounding leaves


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("kind", "settings"),
    [*(("post", name) for name in PRODUCTS), *((kind, "a mask") for kind in HOOKS if kind != "post")],
)
def test_perturbing_nothing_changes_nothing(load, chain, predict, kind, settings):
    hair, skin = unclamped(load("hair")), unclamped(load("skin"))
    found, plain = (
        predict(chain(*zip((first, skin), PRODUCTS[settings], strict=False)))
        for first in (with_hook(hair, kind, perturb_nothing), hair)
    )
    assert_unchanged(found, plain)


def test_perturbing_nothing_changes_nothing_of_two_prompts_on_one_model(load, chain, predict):
    hair = unclamped(load("hair"))
    other = {"weight": 2.5, "condition": hair.null, "null": hair.condition}
    found, plain = (
        predict(chain((each, {"weight": 1.5}), (each, other)))
        for each in (with_hook(hair, "post", perturb_nothing), hair)
    )
    assert_unchanged(found, plain)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("count", [1, 2])
def test_perturbing_nothing_changes_nothing_where_passes_are_left_out(load, chain, node, guide, count):
    hair, skin = unclamped(load("hair")), unclamped(load("skin"))
    policy = {**PLAIN_PASSES, "threshold": -1.0, "refresh": 3}
    found, plain = (
        guide(node("MCDM_Passes", experts=chain(*[first, skin][:count]), **policy)[0])
        for first in (with_hook(hair, "post", perturb_nothing), hair)
    )
    assert_unchanged(found, plain)


@pytest.mark.parametrize("operation", ["and", "or"])
def test_perturbing_nothing_changes_nothing_of_a_logic(load, chain, node, guide, operation):
    hair, skin = unclamped(load("hair")), unclamped(load("skin"))
    (sampler,) = node("MCDM_Logic", operation=operation, sharpness=1.0, prior=0.5, largest=0.7)
    hooked = with_hook(hair, "post", perturb_nothing)
    ours, theirs = (guide(chain(of, skin), sampler, sigmas=(20.0, 3.0, 0.0), batch=2) for of in (hooked, hair))
    assert_unchanged(ours, theirs)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("attached", ["before", "after"])
def test_perturbing_nothing_changes_nothing_in_product_as_model(load, chain, product, attached):
    hair, other = unclamped(load("hair")), chain(unclamped(load("skin")))
    hooked = with_hook(hair, "post", perturb_nothing)
    model = product(hooked if attached == "before" else hair, other)
    if attached == "after":
        model = model.clone()
        model.set_model_sampler_post_cfg_function(lambda args: post(args, perturb_nothing))
    assert_unchanged(core_ksampler(model, hair, 2.5), core_ksampler(product(hair, other), hair, 2.5))


def test_a_hook_that_asks_does_nothing_where_the_first_expert_only_lends_its_null(load, chain, guide):
    """ComfyUI calls no network for a prompt that is None, and answers zeros."""
    hair, skin = load("hair"), load("skin")
    hooked = with_hook(hair, "post", lambda before, again: before - again / 2)
    found, plain = (
        guide(chain((first, {"condition": None, "weight": 0.0}), (skin, {"weight": 3.0, "reliability": 0.0})))
        for first in (hooked, hair)
    )
    assert torch.equal(found, plain)


SHOWN = {
    "cond_denoised": lambda d, u, scale: d,
    "uncond_denoised": lambda d, u, scale: u,
    "denoised": lambda d, u, scale: u + scale * (d - u),
}


@pytest.mark.one_of(2)
@pytest.mark.parametrize("mask", [None, AREA], ids=["everywhere", "in a mask"])
@pytest.mark.parametrize("shown", SHOWN)
def test_a_hook_that_asks_is_shown_the_first_expert_alone_at_the_scale_of_the_product(
    load, chain, predict, shown, mask
):
    """It adds what it is shown, so that this is what the product changes by, where the expert acts."""
    hair, hooked, skin = unclamped(load("hair")), clone(unclamped(load("hair"))), unclamped(load("skin"))

    def add(args):
        asked_again(args, args["cond"])
        return args["denoised"] + args[shown]

    hooked.model.set_model_sampler_post_cfg_function(add)
    found, plain = (
        predict(chain((first, {"weight": 1.5, "mask": mask}), (skin, {"weight": 2.5}))) for first in (hooked, hair)
    )
    own, null = predict(chain(alone(hair))), predict(chain(null_of(hair)))
    if mask is None:
        change = SHOWN[shown](own, null, 4.0)
    else:
        change = mask * SHOWN[shown](own, null, 1.5 * 0.5 + 2.5)  # the largest W
    torch.testing.assert_close(found - plain, change, atol=1e-4, rtol=0)


def test_hooks_beside_one_that_asks_go_on_seeing_the_product(load, chain, guide):
    hair, skin, seen = unclamped(load("hair")), unclamped(load("skin")), ([], [])
    hooked = clone(hair)
    for each, found in ((hair, seen[0]), (hooked, seen[1])):

        def see(args, found=found):
            found.append(tuple(args[name].clone() for name in ("cond_denoised", "uncond_denoised", "denoised")))
            return args["denoised"]

        each.model = each.model.clone()
        each.model.set_model_sampler_post_cfg_function(see)
    hooked = with_hook(hooked, "post", lambda before, again: (before - again / 2) / LARGE)
    plain, found = (guide(chain(first, skin), sigmas=(3.0, 0.0)) for first in (hair, hooked))
    assert not torch.allclose(plain, found, atol=1e-2)
    ((first, second),) = zip(*seen, strict=True)
    assert all(map(torch.equal, first, second))


def test_a_hook_that_asks_costs_one_more_pass_than_its_own(load, chain, guide, passes):
    """That in which it was found out; four steps, a condition and a null each."""
    hair = passes.watch(load("hair"))
    guide(chain(with_hook(hair, "post", perturb_nothing), load("skin")))
    assert sum(call.rows for call in passes.found) == 4 * 2 + 4 + 1


@pytest.mark.one_of(2)
@pytest.mark.parametrize("kind", HOOKS)
def test_one_expert_is_what_core_makes_of_it_to_the_bit(load, chain, sample, kind):
    hair = with_hook(load("hair"), kind, lambda before, again: (before - again / 2) / LARGE)
    latent = {"samples": torch.zeros(2, 3, 32, 32)}
    ours = sample(chain((hair, {"weight": 4.0})), latent, steps=4)
    assert torch.equal(ours, core_ksampler(hair.model, hair, 4.0, "euler", latent))

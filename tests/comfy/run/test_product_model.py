"""The product as a MODEL: in core's samplers it is Product-of-Experts KSampler, and it leaves nothing behind."""

from dataclasses import replace

import comfy.hooks
import comfy.model_management
import comfy.patcher_extension
import comfy_extras.nodes_custom_sampler as custom
import comfy_extras.nodes_model_advanced as advanced
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from ..support.attachments import patches_like_a_lora, with_lora
from ..support.core_samplers import LATENT, core_ksampler, custom_sampler
from ..support.leaks import state_of
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.networks import network
from ..support.oracle.variants import experts_of

SIZES = {"width": 64, "height": 96, "crop_w": 8, "crop_h": 0, "target_width": 96, "target_height": 64}
"""What CLIPTextEncodeSDXL adds to a text."""


def hooked(expert):
    """An expert whose condition brings a LoRA of its own."""
    hooks = comfy.hooks.create_hook_model_as_lora(None, None, 1.0, 0.0)
    hooks.hooks[0].weights = patches_like_a_lora(expert.model, 11)
    other = type(expert)(**vars(expert))
    other.condition = comfy.hooks.set_hooks_for_conditioning(expert.condition, hooks)
    return other


def as_first(expert, cfg, model=None, reliability=1.0):
    """The same expert at the head of a chain."""
    return (expert, {"weight": cfg, "reliability": reliability, "model": model or expert.model})


@pytest.mark.one_of(16)
@pytest.mark.parametrize(("cfg", "weight"), [(1.0, 1.5), (2.5, -0.5), (0.4, 0.6), (0.0, 2.0), (1.0, 0.0)])
@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m_sde", "ddim", "euler_cfg_pp"])
def test_equals_mcdm_ksampler(load, chain, sample, product, sampler_name, cfg, weight):
    hair, other = load("hair"), (load("linear"), {"weight": weight, "reliability": 3.0})
    ours = core_ksampler(product(hair, chain(other)), hair, cfg, sampler_name)
    assert torch.equal(ours, sample(chain(as_first(hair, cfg), other), LATENT, sampler_name, steps=4))
    assert weight == 0 or not torch.equal(ours, core_ksampler(hair.model, hair, cfg, sampler_name))


@pytest.mark.parametrize(
    ("layout", "attachment"),
    [
        ("eps", "ControlNet"),
        ("eps", "hooked LoRA schedule"),
        ("v", "patched attention"),
        ("flow", "LoRA clone"),
        ("SDXL", "sizes"),
    ],
)
def test_equals_mcdm_ksampler_with_what_other_nodes_attach(cast, chain, sample, product, layout, attachment):
    if layout == "SDXL":
        first, second = experts_of([network("SDXL", 4)] * 2)
        first = replace(first, condition=[[text, {**values, **SIZES}] for text, values in first.condition])
    else:
        first, second = (cast.expert(layout, of, place) for place, of in enumerate((attachment, "plain")))
    latent, other = {"samples": torch.zeros(2, 4, 8, 12)}, (second, vars(second))
    ours = core_ksampler(product(first, chain(other), first.reliability), first, 4.0, latent=latent)
    theirs = sample(chain((first, {**vars(first), "weight": 4.0}), other), latent, steps=4)
    assert theirs.isfinite().all()
    assert torch.equal(ours, theirs)


def test_equals_mcdm_ksampler_when_inpainting_a_picture(load, chain, sample, product):
    generator, mask = torch.Generator().manual_seed(1), torch.zeros(1, 32, 32)
    mask[:, 8:24] = 1.0
    picture = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    latent = {"samples": picture, "noise_mask": mask, "batch_index": [4, 1]}
    hair, skin = load("hair"), (load("skin"), {"weight": 2.0, "mask": mask.mT, "end": 0.7})
    settings = {"latent": latent, "denoise": 0.6, "scheduler": "sgm_uniform"}
    ours = core_ksampler(product(hair, chain(skin), 0.5), hair, 3.0, **settings)
    theirs = sample(chain(as_first(hair, 3.0, reliability=0.5), skin), steps=4, **settings)
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(ours[:, :, :8], picture[:, :, :8], atol=1e-6, rtol=0)


def test_experts_on_the_given_model_run_in_its_batch(load, chain, sample, product, passes):
    hair = passes.watch(load("hair"))
    other = (hair, {"weight": 2.0, "condition": hair.null})
    ours = core_ksampler(product(hair, chain(other)), hair, 1.5)
    assert [(call.rows, sorted(call.roles)) for call in passes.found] == [(6, [0, 0, 1])] * 4
    assert torch.equal(ours, sample(chain(as_first(hair, 1.5), other), LATENT, steps=4))


def test_experts_with_hooks_on_the_given_model_keep_them(load, chain, sample, product):
    """From the middle of the schedule: at its highest level, 20,291, float32 rounds away what is compared here."""
    hair = load("hair")
    ours = core_ksampler(product(hair, chain(hooked(hair))), hair, 1.5, denoise=0.5)
    expected, without = (
        sample(chain(as_first(hair, 1.5), other), LATENT, steps=4, denoise=0.5) for other in (hooked(hair), hair)
    )
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(expected, without, atol=1e-3)


def test_what_is_attached_afterwards_belongs_to_the_reference(load, chain, sample, product):
    hair, skin = load("hair"), load("skin")
    others = (hair, skin)
    model = product(hair, chain(*others)).clone()
    model.add_patches(patches_like_a_lora(model, 11))
    ours = core_ksampler(model, hair, 1.5)
    theirs = sample(chain(as_first(hair, 1.5, with_lora(hair).model), *others), LATENT, steps=4)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert not torch.allclose(ours, core_ksampler(product(hair, chain(*others)), hair, 1.5), atol=1e-3)


def test_guidance_hooks_attached_afterwards_run_on_the_product(load, chain, sample, product):
    hair, skin = load("hair"), load("skin")
    rescaled = [advanced.RescaleCFG().patch(model, 0.7)[0] for model in (product(hair, chain(skin)), hair.model)]
    ours = core_ksampler(rescaled[0], hair, 3.0)
    assert torch.equal(ours, sample(chain(as_first(hair, 3.0, rescaled[1]), skin), LATENT, steps=4))


def test_works_under_a_guider_that_has_no_negative(load, chain, node, product):
    hair, skin = load("hair"), load("skin")
    (guider,) = custom.BasicGuider().get_guider(product(hair, chain(skin), 0.0), hair.condition)
    (ours,) = node("MCDM_Guider", experts=chain(as_first(hair, 1.0, reliability=0.0), skin))
    assert torch.equal(custom_sampler(guider), custom_sampler(ours))


def test_a_guider_without_a_negative_needs_a_reliability_of_0(load, chain, product):
    hair = load("hair")
    (guider,) = custom.BasicGuider().get_guider(product(hair, chain(load("skin"))), hair.condition)
    with pytest.raises(ValueError, match=r"Expert 1 .*needs a negative"):
        custom_sampler(guider)


def test_wrappers_of_other_nodes_run_once(load, chain, product):
    hair, calls = load("hair"), []

    def count(name):
        def wrapper(executor, *args, **kwargs):
            calls.append(name)
            return executor(*args, **kwargs)

        return wrapper

    hair.model = hair.model.clone()
    hair.model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "before", count("before"))
    model = product(hair, chain(load("skin")))
    for kind in (WrappersMP.OUTER_SAMPLE, WrappersMP.PREPARE_SAMPLING, WrappersMP.SAMPLER_SAMPLE):
        model.add_wrapper_with_key(kind, "after", count(kind))
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "after", count("pass"))
    core_ksampler(model, hair, 2.0)
    assert sorted(calls) == ["before", "outer_sample", *["pass"] * 4, "prepare_sampling", "sampler_sample"]


def test_all_experts_are_loaded_in_one_call(load, chain, product, loads):
    hair, skin, text = (load(name) for name in ("hair", "skin", "text"))
    core_ksampler(product(hair, chain(skin, text)), hair, 2.0)
    assert loads == [{expert.model.model for expert in (hair, skin, text)}]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("end", ["finished", "cancelled", "failed"])
def test_a_run_leaves_nothing_behind(load, chain, product, end):
    hair, skin = load("hair"), load("skin")
    alone = [core_ksampler(expert.model, expert, 2.0) for expert in (hair, skin)]
    model = product(hair, chain(skin, hair))
    whole = core_ksampler(model, hair, 2.0)

    steps = []

    def stop(args):
        steps.append(args)
        if len(steps) == 2 and end == "cancelled":
            comfy.model_management.interrupt_current_processing()
        if len(steps) == 2 and end == "failed":
            raise ZeroDivisionError
        return args["denoised"]

    hooked_model = model.clone()
    hooked_model.set_model_sampler_post_cfg_function(stop)
    guider = core_guider(hair, 2.0, hooked_model)
    models = (model, hooked_model, hair.model, skin.model)
    before, state = set(vars(guider)), state_of(*models)
    if end == "finished":
        custom_sampler(guider)
        assert set(vars(guider)) == before
    else:
        with pytest.raises((ZeroDivisionError, comfy.model_management.InterruptProcessingException)):
            custom_sampler(guider)
        assert set(vars(guider)) <= before | {"conds"}  # which core leaves after an error
    assert state_of(*models) == state
    assert torch.equal(core_ksampler(model, hair, 2.0), whole)
    assert all(
        torch.equal(core_ksampler(expert.model, expert, 2.0), picture)
        for expert, picture in zip((hair, skin), alone, strict=True)
    )

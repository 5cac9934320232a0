"""Products across latent spaces, in ComfyUI, against plain loops over core's guiders and VAEs: `oracle/joint.py`."""

from dataclasses import replace
from types import SimpleNamespace

import comfy.latent_formats
import comfy.model_base
import comfy.sample
import comfy.samplers
import pytest
import torch

import nodes

from ..support.families.sized_noise import SizedFlow
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.networks import controlnet
from ..support.small_runs import SEED, sampled, sampler_of

LEVELS, FLOW_LEVELS = (8.0, 2.0, 0.6, 0.0), (0.9, 0.6, 0.25, 0.0)


@pytest.fixture
def compare(joint, joint_chain, node):
    """Sample spaces with the guider and with the plain loops; both have to give the same."""

    def check(groups, levels=LEVELS, sampler="euler", kind="MCDM_Guider", batch=1, latent=None, mask=None):
        sampler, first = sampler_of(sampler), groups[0]
        shape = joint.framed(first.format, torch.empty(batch, *first.shape)).shape
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        (guider,) = node(kind, experts=joint_chain(groups))
        start = torch.zeros_like(noise) if latent is None else latent
        found = guider.sample(
            noise, start, sampler, torch.tensor(levels), denoise_mask=mask, disable_pbar=True, seed=joint.SEED
        ).cpu()
        plain = joint.Plain(groups, own_null=kind == "MCDM_OwnNullGuider")
        expected = plain.run(sampler, torch.tensor(levels), noise, latent, mask)
        assert found.shape == noise.shape
        assert expected.std() > 1e-3
        assert (found - expected).abs().max() <= 5e-4 * expected.abs().max()
        return found

    return check


TWO = ((2.0, 1.0), (-0.5, 1.0)), ((1.5, 2.0), (0.7, 0.5))


@pytest.mark.one_of(4)
@pytest.mark.parametrize("kind", ["MCDM_Guider", "MCDM_OwnNullGuider"])
@pytest.mark.parametrize("first", ["pixels", "latents"])
def test_experts_of_this_pack_are_the_plain_loop(spaces, compare, first, kind):
    groups = [spaces("pixels by maps", (32, 32), *TWO[0]), spaces("latents by maps", (64, 64), *TWO[1])]
    compare(groups if first == "pixels" else groups[::-1], kind=kind)


PAIRS = {
    "flow and pixels": ("flow", "pixels", FLOW_LEVELS),
    "pixels and flow": ("pixels", "Flux", LEVELS),
    "SD1.5 and Flux": ("SD1.5", "Flux", LEVELS),
    "Flux and v": ("Flux", "SD2, v", FLOW_LEVELS),
    "Flux and a flow": ("Flux", "flow", (1.0, *FLOW_LEVELS)),
    "Flux 2 and SD1.5": ("Flux 2", "SD1.5", FLOW_LEVELS),
    "SDXL and Flux 2": ("SDXL", "Flux 2", LEVELS),
    "SDXL and SD1.5": ("SDXL", "SD1.5", LEVELS),
    "frames and SD1.5": ("Qwen-Image", "SD1.5", FLOW_LEVELS),
    "SDXL and frames": ("SDXL", "Qwen-Image", LEVELS),
    "latents and Chroma's pixels": ("latents", "Chroma's pixels", LEVELS),
}


@pytest.mark.one_of(6)
@pytest.mark.parametrize("pair", PAIRS)
def test_families_of_pictures_are_the_plain_loop(spaces, compare, pair):
    """κ is not 1 and sides are unequal: the reference has pictures of 64 × 32, the other ones of about 64²."""
    reference, other, levels = PAIRS[pair]
    second = (45, 23) if other == "pixels" else (64, 64)
    groups = [spaces(reference, (64, 32), (2.0, 1.0), (0.5, 1.0)), spaces(other, second, (1.5, 2.0))]
    compare(groups, levels)


def test_three_spaces(spaces, compare):
    groups = [
        spaces("latents", (32, 32), (2.0, 1.0)),
        spaces("pixels", (32, 32), (-1.0, 1.0)),
        spaces("SD1.5", (64, 64), (1.0, 0.0)),
    ]
    compare(groups)


@pytest.mark.one_of(44)
@pytest.mark.parametrize("reference", ["latents", "flow"])
@pytest.mark.parametrize("sampler", comfy.samplers.SAMPLER_NAMES)
def test_every_sampler_steps_the_joint_state_or_refuses_it(spaces, compare, sampler, reference):
    groups = [spaces(reference, (32, 32), (2.0, 1.0)), spaces("pixels", (32, 32), (1.5, 1.0))]
    levels = LEVELS if reference == "latents" else FLOW_LEVELS
    if "cfg_pp" in sampler:
        with pytest.raises(ValueError, match=r"^Expected a sampler .* CFG\+\+ samplers do; choose another sampler"):
            compare(groups, levels, sampler)
        return
    compare(groups, levels, sampler)


def test_ddim_of_this_pack_steps_the_joint_state(spaces, compare, node):
    groups = [spaces("latents", (32, 32), (2.0, 1.0)), spaces("pixels", (32, 32), (1.5, 1.0))]
    compare(groups, sampler=node("MCDM_SamplerDDIM", eta=1.0)[0])


def picture_of(group, batch):
    """A LATENT of a picture of its own for each of a batch."""
    height, width = group.picture
    coarse = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(4))
    pictures = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return group.format.process_out(group.encode(pictures))


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    ("reference", "other", "levels"),
    [
        ("SDXL", "SD1.5", (2.0, 0.6, 0.0)),
        ("Flux", "SD1.5", (0.7, 0.3, 0.0)),
        ("SDXL", "Qwen-Image", (2.0, 0.6, 0.0)),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_every_space_starts_from_the_picture(spaces, compare, reference, other, levels, masked):
    """A batch of two pictures; a noise mask with a soft edge and a hard one."""
    groups = [spaces(reference, (64, 64), (2.0, 1.0)), spaces(other, (64, 64), (1.0, 1.0))]
    latent = picture_of(groups[0], 2)
    mask = torch.zeros(1, 8, 8)
    mask[:, :4], mask[:, 4] = 1.0, 0.5
    found = compare(groups, levels, batch=2, latent=latent, mask=mask if masked else None)
    if masked:
        torch.testing.assert_close(found[..., 5:, :], latent[..., 5:, :], atol=1e-4, rtol=1e-4)
        assert (found[..., :4, :] - latent[..., :4, :]).abs().mean() > 1e-2


def test_a_picture_of_one_frame_starts_every_space(spaces, compare, joint):
    groups = [spaces("Qwen-Image", (64, 64), (2.0, 1.0)), spaces("pixels", (32, 32), (1.0, 1.0))]
    latent = joint.framed(groups[0].format, picture_of(groups[0], 1)[:, :, 0])
    compare(groups, (0.7, 0.3, 0.0), latent=latent)


@pytest.fixture
def run(joint_chain, node, joint):
    """Sample the chain of the experts of spaces, or another one of them."""

    def sample(groups, shape=(1, 3, 32, 32), levels=LEVELS, experts=None):
        (guider,) = node("MCDM_Guider", experts=experts or joint_chain(groups))
        return sampled(guider, shape=shape, sigmas=levels, seed=joint.SEED)

    return sample


@pytest.fixture
def sampled_with(run):
    """Sample SDXL, whose picture is 32 × 64 pixels, beside another space whose condition has further values."""

    def sample(spaces, other, **values):
        groups = [spaces("SDXL", (32, 64), (2.0, 1.0)), spaces(other, (64, 64), (1.5, 1.0))]
        member = groups[1].members[0]
        condition = [[tokens, {**own, **values}] for tokens, own in member.loaded.condition]
        loaded = SimpleNamespace(**vars(member.loaded) | {"condition": condition})
        groups[1] = replace(groups[1], members=[replace(member, loaded=loaded)])
        return run(groups, (1, 4, 4, 8))

    return sample


@pytest.mark.one_of(2)
@pytest.mark.parametrize("other", ["SD1.5", "Qwen-Image"])
def test_an_area_is_at_its_place_in_the_references_picture(spaces, sampled_with, other):
    """Areas are told in units of 8 pixels of what is drawn, or in shares: here the right half of 32 × 64 pixels."""
    told = sampled_with(spaces, other, area=(4, 4, 0, 4))
    assert torch.equal(told, sampled_with(spaces, other, area=("percentage", 1.0, 0.5, 0.0, 0.5)))
    assert (told - sampled_with(spaces, other)).abs().mean() > 1e-3


def test_boxes_of_gligen_are_at_their_place_in_the_references_picture(spaces, joint_chain, node, host):
    """The lower right quarter of 32 × 64 pixels, told in units of 8 pixels, in SD1.5's 8 × 8 values."""
    groups = [spaces("SDXL", (32, 64), (2.0, 1.0)), spaces("SD1.5", (64, 64), (1.5, 1.0))]
    (guider,) = node("MCDM_Guider", experts=joint_chain(groups))
    found = host.spaces.run_spaces.RunSpaces(guider.experts, torch.zeros(1, 4, 4, 8))
    entry = {"gligen": ("position", None, [("text", 2, 4, 2, 4)])}
    first, second = (
        found.with_areas(expert.model, {"positive": [entry]})["positive"][0]["gligen"][2] for expert in guider.experts
    )
    assert first == [("text", 2, 4, 2, 4)]
    assert second == [("text", 4.0, 4.0, 4.0, 4.0)]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("place", [0, 1], ids=["reference", "other"])
def test_a_controlnet_acts_in_the_space_of_its_expert(spaces, compare, place):
    """Its hint is a picture, which ComfyUI resizes for the expert's own samples."""
    groups = [spaces("SDXL", (32, 32), (2.0, 1.0)), spaces("SD1.5", (64, 64), (1.5, 1.0))]
    without = compare(groups)
    member = groups[place].members[0]
    hint = torch.rand(1, 48, 48, 3, generator=torch.Generator().manual_seed(4))
    settings = (controlnet(member.loaded.model, 5), hint, 1.0, 0.0, 1.0)
    apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    condition, null = apply(member.loaded.condition, member.loaded.null, *settings)
    member.loaded = replace(member.loaded, condition=condition, null=null)
    assert (compare(groups) - without).abs().max() > 1e-2


def test_masks_hold_in_every_space(spaces, compare):
    groups = [spaces("latents", (32, 32), *TWO[0]), spaces("pixels", (32, 32), *TWO[1])]
    generator = torch.Generator().manual_seed(3)
    for group in groups:
        for member in group.members:
            member.mask = torch.tensor([0.0, 0.5, 1.0])[torch.randint(3, (1, 4, 4), generator=generator)]
            member.mask[:, 0, 0] = 0.0  # no expert at all: what is left is the unconditional estimate
    compare(groups)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral"])
def test_a_space_whose_window_ends_early_lets_the_others_go_on(spaces, compare, sampler):
    groups = [spaces("latents", (32, 32), (2.0, 1.0)), spaces("pixels", (32, 32), (1.5, 1.0))]
    schedule = groups[0].members[0].loaded.model.get_model_object("model_sampling")
    groups[1].members[0].end = 0.5
    assert LEVELS[2] < schedule.percent_to_sigma(0.5) < LEVELS[0]
    compare(groups, sampler=sampler)


def test_experts_of_one_space_may_be_apart_in_the_chain_and_share_a_vae(spaces, chain, run):
    groups = [spaces("pixels", (32, 32), *TWO[0]), spaces("latents", (64, 64), (1.5, 2.0))]
    (hair, skin), (latents,) = (group.members for group in groups)
    experts = chain(
        (hair.loaded, {"weight": hair.weight}),
        (latents.loaded, {"weight": latents.weight, "reliability": latents.reliability, "vae": groups[1].vae}),
        (skin.loaded, {"weight": skin.weight, "vae": groups[0].vae}),
    )
    torch.testing.assert_close(run(groups, experts=experts), run(groups), atol=1e-4, rtol=1e-4)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("own", ["CFGGuider", "KSampler"])
def test_a_product_as_a_model_does_the_same(spaces, joint_chain, node, joint, own):
    groups = [spaces("latents", (32, 32), (2.0, 1.0)), spaces("pixels", (32, 32), (1.5, 1.0))]
    first, latent = groups[0].members[0].loaded, {"samples": torch.zeros(2, 4, 4, 4)}
    settings = {"steps": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    (expected,) = node("MCDM_KSampler", experts=joint_chain(groups), latent_image=latent, seed=joint.SEED, **settings)
    given = {"reliability": 1.0, "experts": joint_chain(groups[1:]), "vae": groups[0].vae}
    (model,) = node("MCDM_ProductModel", model=first.model, **given)
    if own == "KSampler":
        guided = {"cfg": 2.0, "positive": first.condition, "negative": first.null, "latent": latent}
        found = nodes.common_ksampler(model, joint.SEED, **guided, **settings)[0]["samples"]
    else:
        guider = core_guider(first, 2.0, model)
        noise = comfy.sample.prepare_noise(latent["samples"], joint.SEED)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 3)
        euler = comfy.samplers.sampler_object("euler")
        found = guider.sample(noise, latent["samples"], euler, sigmas, seed=joint.SEED).cpu()
    assert torch.equal(found, expected["samples"])


def test_a_flow_whose_noise_depends_on_the_size_counts_the_size_of_its_own_samples(spaces, run, joint):
    """ComfyUI's sampler is given one long row of numbers, for which it would take noise of another scale."""
    groups = [spaces("Chroma's pixels", (32, 32), (2.0, 1.0)), spaces("latents", (64, 64), (1.0, 1.0))]
    seen = []

    def watch(model):
        def asked(apply_model, args):
            seen.append(args["input"][:1])
            return apply_model(args["input"], args["timestep"], **args["c"])

        model.set_model_unet_function_wrapper(asked)
        return model

    flow, latents = (watch(group.members[0].loaded.model) for group in groups)
    flow.model.model_sampling = SizedFlow(flow.model.model_config)
    run(groups, levels=(1.0, 0.5, 0.0))
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(SEED))
    torch.testing.assert_close(seen[0].cpu(), 32 / 4 * noise, atol=1e-4, rtol=0)
    largest = float(latents.get_model_object("model_sampling").sigma_max)
    own = joint.own_noise(1, noise, (4, 8, 8)) * (1 + largest**2) ** 0.5
    assert any(x.shape == own.shape and (x.cpu() - own).abs().max() < 1e-3 * largest for x in seen)


@pytest.mark.parametrize(("family", "side"), [("BaseModel", 512), ("PixArt", 1024)])
def test_checkpoints_draw_in_the_size_they_were_trained_on(host, family, side):
    """PixArt-α is of the latents of SD1.5, and of pictures of twice the side."""
    of_family = getattr(comfy.model_base, family)
    model = of_family.__new__(of_family)
    patcher = SimpleNamespace(model=model, get_model_object={"latent_format": comfy.latent_formats.SD15()}.get)
    assert host.spaces.run_spaces.native_side(patcher) == side

"""Experts of several latent spaces that can't be sampled together: one sentence each, before any network is called."""

import comfy.samplers
import comfy_extras.nodes_advanced_samplers as nodes
import pytest
import torch
from comfy.nested_tensor import NestedTensor

from ..support.cases import USUAL_LOGIC

LATENT = torch.zeros(2, 4, 8, 8)


@pytest.fixture
def refused(node, passes):
    """The sentence by which a run of a chain is refused; no network may be called before."""

    def look(experts, latent=LATENT, sampler=None, levels=(8.0, 2.0, 0.0), noise=None, watched=(), **more):
        kind, starts = more.pop("kind", "MCDM_Guider"), more.pop("starts", r"(Expected|Expert \d) ")
        for loaded in watched:
            passes.watch(loaded)
        noise = torch.randn_like(latent) if noise is None else noise
        sampler = sampler or comfy.samplers.sampler_object("euler")
        with pytest.raises(ValueError, match=f"^{starts}") as error:
            node(kind, experts=experts, **more)[0].sample(noise, latent, sampler, torch.tensor(levels), seed=3)
        assert not passes.found
        return str(error.value)

    return look


@pytest.fixture
def two(load, load_latent, chain):
    """A chain of latents and pixels, with what is given in place of their nodes' inputs."""
    loaded = load_latent("hair"), load("skin")

    def build(*changes):
        given = [{"vae": expert.vae} for expert in loaded]
        return chain(*((e, own | more) for e, own, more in zip(loaded, given, changes or ({}, {}), strict=True)))

    build.loaded = loaded
    return build


LABELS = "expert 1 (latent hair)", "expert 2 (small skin)"
SPACES = f"{LABELS[0]} works on LatentSpace (4 channels of the VAE "
NO_VAE = {"vae": None}


@pytest.mark.parametrize("place", [0, 1])
def test_a_missing_vae_is_asked_for(two, refused, place):
    changes = [{}, {}]
    changes[place] = NO_VAE
    said = refused(two(*changes), watched=two.loaded)
    assert said.startswith(f"{LABELS[place].capitalize()} needs a VAE, because it works on ")
    assert f" and {LABELS[1 - place]} on " in said
    assert said.endswith(". Connect the VAE of its model to its vae input, or combine models of one family.")


def test_all_missing_vaes_are_asked_for_at_once(two, refused):
    said = refused(two(NO_VAE, NO_VAE), watched=two.loaded)
    assert said.startswith(f"{LABELS[0].capitalize()} works on LatentSpace (4 channels of the VAE ")
    assert (
        f" and {LABELS[1]} on PixelSpace (3 channels), so each needs a VAE. Connect the VAE of each model to " in said
    )


def test_of_a_product_as_a_model_too(two, chain, node, passes):
    latents, pixels = two.loaded
    experts = chain((passes.watch(pixels), {"vae": pixels.vae}))
    (model,) = node("MCDM_ProductModel", model=passes.watch(latents).model, reliability=1.0, experts=experts)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(latents.condition, latents.null)
    euler, levels = comfy.samplers.sampler_object("euler"), torch.tensor([2.0, 0.0])
    with pytest.raises(ValueError, match=r"^Expert 1 \(latent hair\) needs a VAE, because .*\. Connect "):
        guider.sample(torch.randn_like(LATENT), LATENT, euler, levels, seed=3)
    assert not passes.found


@pytest.mark.parametrize(
    ("space", "channels", "said"),
    [
        ("SD15", 16, "with 4 channels and got one with 16 channels;"),
        ("SC_B", 4, "that shrinks pictures 4 times and got one that shrinks pictures 8 times;"),
        ("Wan21", 16, "of videos and got one of pictures;"),
        ("Wan21", 4, "of videos with 16 channels and got one of pictures with 4 channels;"),
    ],
)
def test_a_vae_of_another_kind(chain, load, joint, refused, space, channels, said):
    pixels = load("hair")
    vae = joint.tiny_vae(channels)
    experts = chain((pixels, {"vae": pixels.vae}), (joint.expert_in(space, 1), {"vae": vae}))
    assert f"Expert 2 needs a VAE {said} connect " in refused(experts, torch.zeros(1, 3, 32, 32), watched=[pixels])


def test_proportions_other_than_those_of_a_map(chain, load, joint, refused):
    pixels = load("hair")
    experts = chain((joint.expert_in("SD15", 1), {"vae": joint.tiny_vae(4)}), (pixels, {"vae": pixels.vae}))
    said = refused(experts, torch.zeros(1, 4, 8, 16), watched=[pixels], starts="Wrong latent for expert 2 ")
    assert said.endswith(
        ": its map is of 32×32 pixels, and in the proportions of this latent its pictures are of 45×23; start from a "
        "latent in the proportions of the map."
    )


def test_a_video(chain, load, joint, refused):
    pixels = load("hair")
    video = joint.expert_in("Wan21", 1)
    experts = chain((video, {"vae": joint.tiny_video_vae()}), (pixels, {"vae": pixels.vae}))
    said = refused(experts, torch.zeros(1, 16, 2, 4, 4), watched=[pixels], levels=(0.9, 0.0))
    assert said.startswith("Expected a latent of pictures, because expert 1 works on Wan21 (16 channels) and expert 2 ")
    assert said.endswith(
        "and got a video or one with sound; start from Empty Latent Image or a latent of one frame, or combine models "
        "of one family."
    )


def test_a_nested_latent(two, refused):
    latent = NestedTensor((torch.zeros(1, 4, 4, 4), torch.zeros(1, 8, 10)))
    noise = NestedTensor((torch.randn(1, 4, 4, 4), torch.randn(1, 8, 10)))
    assert "and got a video or one with sound; start from " in refused(two(), latent, noise=noise, watched=two.loaded)


@pytest.mark.parametrize("space", ["StableAudio1", "ACEAudio"])
def test_a_model_of_sound(chain, load, joint, refused, space):
    pixels = load("hair")
    experts = chain((pixels, {"vae": pixels.vae}), joint.expert_in(space, 1))
    said = refused(experts, torch.zeros(1, 3, 32, 32), watched=[pixels])
    assert said == (
        "Expected models of pictures where experts work on several latent spaces, but expert 2 makes none; combine "
        "models of one family."
    )


@pytest.mark.parametrize("part", [{"levels": (8.0, 2.0)}, {"noise": torch.zeros_like(LATENT)}], ids=["end", "start"])
def test_a_part_of_a_run(two, refused, part):
    said = refused(two(), watched=two.loaded, **part)
    assert said.startswith("Expected a run that adds its own noise and removes all of it, because the noise of each ")
    assert said.endswith("and got a part of one; sample in one go, or combine models of one family.")


def test_logic_which_compares_experts_on_one_sample(two, refused, node):
    said = refused(two(), sampler=node("MCDM_Logic", **USUAL_LOGIC)[0], watched=two.loaded)
    assert said.startswith(f"Expected experts of one latent space for Logic Sampler, but {SPACES}")
    assert said.endswith("on PixelSpace (3 channels); choose another sampler, or combine models of one family.")


def test_scores(two, refused):
    said = refused(two(), watched=two.loaded, scores=True)
    assert said.startswith("Expected experts of one latent space for scores, which compare their predictions of ")
    assert said.endswith("on PixelSpace (3 channels); switch scores off, or combine models of one family.")


def test_hooks_that_read_the_unconditional_estimate(two, refused):
    latents, _ = two.loaded
    latents.model = latents.model.clone()
    latents.model.set_model_sampler_post_cfg_function(lambda args: args["uncond_denoised"], True)
    said = refused(two(), watched=two.loaded)
    assert "don't ask for a common negative, because experts of several" in said
    assert said.endswith("choose another sampler, or remove the node.")


def test_a_sampler_that_changes_the_size_of_samples(two, refused):
    (sampler,) = nodes.SamplerLCMUpscale().execute(1.5, 2, "bislerp")
    said = refused(two(), sampler=sampler, watched=two.loaded)
    assert said.startswith("Expected a sampler that keeps the size of samples, because experts of several ")
    assert said.endswith(" and got SamplerLCMUpscale; choose another sampler.")


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("kind", ["MCDM_Guider", "MCDM_OwnNullGuider"])
def test_nulls_that_a_space_needs(two, refused, missing, kind):
    changes = [{}, {}]
    changes[missing] = {"null": None}
    said = refused(two(*changes), watched=two.loaded, kind=kind)
    assert f"Expert {missing + 1}" in said
    assert "because each latent space is guided away from negatives of its own" in said
    assert said.endswith(". Connect negative, or combine models of one family.")

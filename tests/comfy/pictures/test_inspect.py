"""Inspect Product: the same samples as without it, and pictures that show what really went into them."""

import math
from itertools import count

import comfy.model_management
import comfy.samplers
import comfy.utils
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch

from ..support.cases import FEWER_PASSES
from ..support.server.posts import said_of

SIGMAS = torch.tensor([20.0, 3.0, 0.5, 0.0])
TILE, TITLE = 256 + 8, 256 // 3


@pytest.fixture
def inputs(node):
    """What Inspect Product and SamplerCustomAdvanced have in common, for two pictures."""

    def build(sampler="euler", batch=2, **latent):
        return {
            "noise": custom.Noise_RandomNoise(3),
            "sampler": comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler,
            "sigmas": SIGMAS.clone(),  # uni_pc changes them
            "latent_image": {"samples": torch.zeros(batch, 3, 32, 32), **latent},
        }

    return build


@pytest.fixture
def record(host):
    """Sample with a recording."""

    def run(experts, inputs, shown="3"):
        latent = inputs["latent_image"]
        arguments = (inputs["noise"], inputs["sampler"], inputs["sigmas"], latent, shown)
        return host.pictures.recording.sample_recorded(experts, *arguments)[1]

    return run


def upper_half():
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1.0
    return mask


@pytest.mark.one_of(2)
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2", "dpmpp_2s_ancestral", "uni_pc", "dpm_fast", "sa_solver"])
def test_the_call_that_is_shown_is_the_one_that_the_sampler_reports(load, chain, inputs, record, sampler):
    experts = chain((load("hair"), {"weight": 1.5}), (load("skin"), {"weight": 2.0}))
    steps = record(experts, inputs(sampler), "1, 2, 3").shown()
    assert steps[0].sigma == pytest.approx(20.0)
    if sampler != "dpm_fast":  # which takes as many calls as there are sigmas, in fewer steps
        assert [step.sigma for step in steps] == pytest.approx(SIGMAS[:3].tolist())
    for step in steps:
        combined = step.uncond + 1.5 * (step.cond[0] - step.uncond) + 2.0 * (step.cond[1] - step.uncond)
        torch.testing.assert_close(step.denoised, combined.clamp(-1, 1), atol=1e-3, rtol=0)


def test_guidance_is_measured_where_the_picture_may_change(load, chain, inputs, record):
    mask = upper_half()
    experts = chain((load("hair"), {"weight": 1.5}), (load("skin"), {"weight": -0.7}))
    recording = record(experts, inputs(noise_mask=mask), "1, 2, 3")
    for step in recording.shown():
        guidance = [w * (step.cond[i] - step.uncond)[:, :, :16].double() for i, w in enumerate((1.5, -0.7))]
        measured = recording.guidance[step.step]
        for i in range(2):
            expected = guidance[i].square().mean(dim=(1, 2, 3)).sqrt()
            torch.testing.assert_close(measured.norms[:, i], expected, rtol=1e-5, atol=0)
        cosine = torch.nn.functional.cosine_similarity(*(each.flatten(1) for each in guidance))
        torch.testing.assert_close(measured.cosines[:, 0, 1], cosine, rtol=1e-4, atol=1e-6)


def test_masks_scale_the_guidance(load, chain, inputs, record):
    everywhere = record(chain((load("hair"), {"weight": 3.0})), inputs())
    half = record(chain((load("hair"), {"weight": 3.0, "mask": torch.full((1, 8, 8), 0.5)})), inputs())
    ratio = half.guidance[1].norms / everywhere.guidance[1].norms
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5), rtol=1e-4, atol=0)


def test_experts_outside_their_window_have_neither_picture_nor_guidance(load, chain, inputs, record):
    experts = chain(load("hair"), (load("skin"), {"start": 0.5}))
    recording = record(experts, inputs())
    assert recording.shown()[0].cond[1] is None
    assert recording.shown()[-1].cond[1] is not None
    assert [math.isnan(recording.guidance[step].norms[0, 1]) for step in (1, 3)] == [True, False]


def test_without_guidance_there_is_no_unconditional_row(load, chain, node, inputs, passes):
    hair = passes.watch(load("hair"))
    sizes = {}
    for weight in (1.0, 2.0):
        given = inputs(batch=1)
        out = node("MCDM_Inspect", experts=chain((hair, {"weight": weight})), vae=hair.vae, steps_shown="2", **given)
        sizes[weight] = out[1].shape
    assert sizes[1.0] == (1, TITLE + 2 * TILE, 8 + 3 * TILE, 3)
    assert sizes[2.0] == (1, TITLE + 3 * TILE, 8 + 3 * TILE, 3)
    assert sum(call.rows for call in passes.found) == 3 + 6


def test_each_picture_of_a_batch_has_a_grid_and_a_plot(load, chain, node, inputs):
    vae = load("hair").vae
    experts = chain((load("hair"), {"weight": 1.5}), (load("skin"), {"weight": 0.0, "condition": None}))
    latent, grids, plots = node("MCDM_Inspect", experts=experts, vae=vae, steps_shown="1, last", **inputs())
    assert len(grids) == len(plots) == 2
    assert not torch.equal(plots[0], plots[1])
    # The last Euler step ends at the product's x0: the bottom right tile of each grid is the picture, enlarged.
    tiles = grids[:, TITLE + 3 * TILE :, 8 + 2 * TILE :][:, :256:8, :256:8]
    torch.testing.assert_close(tiles, vae.decode(latent["samples"]).clamp(0, 1), atol=0.51 / 255, rtol=0)


def test_steps_and_previews_reach_the_interface(load, chain, inputs, record, progress, every_step):
    record(chain(load("hair")), inputs("heun"))
    assert progress == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("where", "number"), [("pass", 0), ("pass", 5), ("bar", 0), ("bar", 2)])
def test_a_cancel_is_handed_on_and_the_next_run_is_undisturbed(
    load, chain, node, inputs, at_each_pass, every_step, monkeypatch, where, number
):
    hair, calls = load("hair"), count()
    experts = FEWER_PASSES.chain(node, chain(hair, load("skin")))  # whose plots show the rows of each step, too

    def inspect():
        latent, *pictures = node("MCDM_Inspect", experts=experts, vae=hair.vae, steps_shown="2", **inputs("heun"))
        return latent["samples"], *pictures

    def cancel(*_, **__):
        if next(calls) == number:
            comfy.model_management.interrupt_current_processing()
        comfy.model_management.throw_exception_if_processing_interrupted()

    expected = inspect()
    at_each_pass(cancel) if where == "pass" else monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        inspect()
    assert all(torch.equal(*pair) for pair in zip(inspect(), expected, strict=True))


@pytest.mark.parametrize("text", ["", "0", "1, 0", "-1", "a", "1 5", "1,,5", ",", "2.5", "51", "²"])
def test_steps_that_cannot_be_read_are_refused_at_post(host, node, text):
    said = said_of(host, node, "MCDM_Inspect", steps_shown=text)
    assert said.startswith("steps_shown: Expected how many steps to show")


def test_what_cannot_be_shown_is_refused_before_the_first_pass(load, chain, node, inputs, passes):
    hair = passes.watch(load("hair"))
    given = {"experts": chain(hair), "vae": hair.vae, "steps_shown": "5", **inputs()}
    with pytest.raises(ValueError, match=r"of the 3 that sigmas has and got 4"):
        node("MCDM_Inspect", **{**given, "steps_shown": "1, 4"})
    with pytest.raises(ValueError, match="at least one step"):
        node("MCDM_Inspect", **{**given, "sigmas": torch.zeros(0)})
    wrong = type(hair.vae).__new__(type(hair.vae))
    wrong.latent_channels = 4
    with pytest.raises(ValueError, match=r"3 channels, those of expert 1 \(small hair\), and got one for 4"):
        node("MCDM_Inspect", **{**given, "vae": wrong})
    assert not passes.found

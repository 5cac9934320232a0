"""Reliability Sweep: every cell is a run of its own, the experts are loaded once, and a cancel keeps what is done."""

import logging

import comfy.model_management
import comfy.utils
import numpy as np
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image

from ..support.attachments import with_lora
from ..support.core_samplers import SWEPT
from ..support.server.posts import faults_of, prompt_node
from ..support.server.prompts import chain_sampled, chained

TILE, STEP, MARGIN = 256, 256 + 8, 8
TITLE = TILE // 3


def tile(grid, row, column):
    """One cell of a grid, at the size it was sampled in."""
    top, left = TITLE + row * STEP, MARGIN + (column + 1) * STEP
    return grid[top : top + TILE : 8, left : left + TILE : 8]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("sampler_name", ["ddim", "dpmpp_2m_sde"])
def test_each_cell_is_the_ksamplers(load, chain, sample, sweep, sampler_name):
    hair, skin = load("hair"), load("linear")
    latent = {"samples": torch.zeros(2, 3, 32, 32)}
    settings = {"latent": latent, "sampler_name": sampler_name}
    experts = chain((hair, {"weight": 1.5, "reliability": 3.0}), (skin, {"weight": 2.0, "reliability": 7.0}))
    samples, grids = sweep(experts, hair.vae, guidance="1, 2", **settings)
    assert grids.shape == (2, TITLE + 3 * STEP, MARGIN + 5 * STEP, 3)
    expected = [
        sample(
            chain(
                (hair, {"weight": 1.5 * factor, "reliability": 1 - value}),
                (skin, {"weight": 2.0 * factor, "reliability": value}),
            ),
            seed=seed,
            **settings,
        )
        for value in (0.0, 0.25, 1.0)
        for seed in (5, 6)
        for factor in (1, 2)
    ]
    assert torch.equal(samples, torch.cat(expected))
    assert not torch.equal(expected[0], expected[-1])
    for place, cell in enumerate(expected):
        for picture, grid in zip(hair.vae.decode(cell), grids, strict=True):
            found = tile(grid, *divmod(place, 4))
            torch.testing.assert_close(found, picture.clamp(0, 1), atol=0.51 / 255, rtol=0)


def test_a_weight_of_0_that_no_cell_has_gives_no_warning(load, chain, sweep, caplog):
    hair = load("hair")
    with caplog.at_level(logging.WARNING, "mcdm_pack"):
        for vary, warned in (("absolute weight", False), ("weight", True)):
            sweep(chain((hair, {"weight": 0.0})), hair.vae, expert_index=1, values="0, 1", vary=vary, seeds=1)
            assert ("Every weight is 0" in caplog.text) is warned


@pytest.mark.parametrize(("of_batch", "channels"), [(1, 3), (2, 3), (2, 4)])
def test_a_reference_stands_above_and_changes_nothing(load, chain, sweep, of_batch, channels):
    hair = load("hair")
    experts, latent = chain((hair, {"weight": 1.5})), {"samples": torch.zeros(2, 3, 32, 32)}
    settings = {"expert_index": 1, "values": "1", "latent": latent}
    samples, grids = sweep(experts, hair.vae, **settings)
    reference = torch.rand(of_batch, 32, 32, channels)
    again, compared = sweep(experts, hair.vae, reference=reference, **settings)
    assert torch.equal(again, samples)
    for grid, plain, picture in zip(compared, grids, reference.expand(2, -1, -1, -1), strict=True):
        torch.testing.assert_close(tile(grid, 0, 0), picture[..., :3], atol=0.51 / 255, rtol=0)
        assert torch.equal(grid[TITLE + STEP :], plain[TITLE:])


def test_the_latents_mask_and_picture_reach_every_cell(load, chain, node, sweep):
    hair = load("hair")
    experts = chain(hair, load("skin"))
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1.0
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latent = {"samples": picture, "noise_mask": mask, "batch_index": [3]}
    settings = {"steps": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.6}
    samples, _ = sweep(experts, hair.vae, latent, values="0.5", **settings)
    for cell, seed in zip(samples, (5, 6), strict=True):
        (expected,) = node("MCDM_KSampler", experts=experts, seed=seed, latent_image=latent, **settings)
        assert torch.equal(cell[None], expected["samples"])
    assert not samples.equal(picture.expand(2, -1, -1, -1))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("second", ["skin", "lora clone"])
def test_the_experts_are_loaded_once_for_the_grid(load, chain, sample, sweep, second, monkeypatch):
    hair = load("hair")
    experts = chain(hair, with_lora(hair) if second == "lora clone" else load(second))
    loaded = []
    load_weights = ModelPatcher.load
    monkeypatch.setattr(
        ModelPatcher, "load", lambda self, *args, **more: (loaded.append(self), load_weights(self, *args, **more))[1]
    )
    counts = []
    for run in (lambda: sample(experts), lambda: sweep(experts, hair.vae)):
        comfy.model_management.unload_all_models()
        loaded.clear()
        run()
        counts.append(sum(patcher in [expert.model for expert in experts] for patcher in loaded))
    assert counts[0] == counts[1] == (1 if second == "lora clone" else 2)


def test_progress_is_that_of_the_whole_grid(load, chain, sweep, progress, every_step):
    hair = load("hair")
    sweep(chain(hair, load("skin")), hair.vae, values="0, 1")
    assert progress == [(step, 12) for step in range(1, 13)]


def test_progress_begins_and_ends_with_the_grid_where_steps_are_left_out(load, chain, sweep, progress):
    """As newer ComfyUI leaves them out."""
    hair = load("hair")
    sweep(chain(hair, load("skin")), hair.vae, values="0, 1")
    assert progress == sorted(progress)
    assert [progress[0], progress[-1]] == [(1, 12), (12, 12)]
    assert {total for _, total in progress} == {12}


def test_a_cancel_is_heard_before_the_next_pass_whatever_progress_leaves_out(load, chain, sweep, passes, monkeypatch):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    network = hair.model.model.diffusion_model
    forward = network.forward

    def cancelled_in_the_third(*args, **kwargs):
        if len([call for call in passes.found if call.expert is hair]) == 3:
            comfy.model_management.interrupt_current_processing()
        return forward(*args, **kwargs)

    monkeypatch.setattr(network, "forward", cancelled_in_the_third)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sweep(chain(hair, skin), hair.vae, values="0, 1")
    assert passes.found[-1].expert is hair
    assert len([call for call in passes.found if call.expert is hair]) == 3


@pytest.fixture
def cancel(monkeypatch, every_step):
    """Cancel as the user does, after so many steps of the grid."""

    def at(last):
        def hook(value, total, *rest, **more):
            if value == last:
                comfy.model_management.interrupt_current_processing()
            comfy.model_management.throw_exception_if_processing_interrupted()

        monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)

    return at


@pytest.mark.one_of(3)
@pytest.mark.parametrize(("last", "done"), [(2, 0), (3, 0), (8, 2)])
def test_a_cancel_keeps_the_finished_cells_and_the_next_run_is_good(
    load, chain, sweep, cancel, base, caplog, last, done
):
    hair = load("hair")
    experts = chain(hair, load("skin"))
    before, (whole,) = sweep(experts, hair.vae)
    files = set((base / "output").glob("*"))
    cancel(last)
    with caplog.at_level(logging.INFO), pytest.raises(comfy.model_management.InterruptProcessingException):
        sweep(experts, hair.vae)
    assert all(expert.model.model.current_patcher is None for expert in experts)
    written = set((base / "output").glob("*")) - files
    assert len(written) == (done > 0)
    for path in written:
        assert path.name.startswith("MCDM_sweep_")
        assert f"Cancelled after {done} of 6 cells; {path} has them." in caplog.text
        grid = np.asarray(Image.open(path))
        expected = (whole.numpy() * 255).round().astype(np.uint8)
        for place in range(6):
            row, column = divmod(place, 2)
            same = np.array_equal(tile(grid, row, column), tile(expected, row, column))
            assert same is (place < done)
    cancel(None)
    after, (again,) = sweep(experts, hair.vae)
    assert torch.equal(before, after)
    assert torch.equal(whole, again)


@pytest.fixture
def refusal(host):
    """What POST /prompt would say of a sweep of a chain."""

    def say(*experts, **changes):
        settings = {
            f"at_{place}": {"model": ["loader", 0], "weight": 2.0, **own} for place, own in enumerate(experts, start=1)
        }
        loader = prompt_node("CheckpointLoaderSimple", ckpt_name="a.safetensors")
        prompt = {**chained([None] * len(experts), **settings), "loader": loader}
        faults = faults_of(host, chain_sampled(prompt, "MCDM_ReliabilitySweep", **{**SWEPT, **changes}))
        return "\n".join(fault.sentence for fault in faults.values())

    return say


REFUSED = [
    ([{}, {}], {"values": "0, 2"}, "values from 0 to 1"),
    ([{}, {}], {"values": ""}, "values from 0 to 1"),
    ([{}, {}], {"guidance": "strong"}, "factors of the weights"),
    ([{}, {}], {"guidance": "1-2 [26]"}, "sweep in parts"),
    ([{}, {}], {"expert_index": 3}, "from 1 to 2 to sweep and got 3"),
    ([{"end": 0.5}, {}], {"expert_index": 3}, "from 1 to 2 to sweep and got 3"),
    ([{}], {"expert_index": 1}, "another expert, to take the rest"),
    ([{}, {"null": None, "reliability": 0.0}], {}, "Expert 2 needs a negative, because its reliability is 0.25"),
    ([{"reliability": 0.0}, {"reliability": 0.0}], {"vary": "weight"}, "reliabilities with a positive sum"),
    ([{}, {"weight": float("nan")}], {}, "Expected a number for weight, -20 to 20"),
    ([{}, {}], {"vary": "absolute weight", "values": "strong"}, "Expected weights, such as"),
    ([{}, {}], {"vary": "absolute weight", "values": f"1-{'9' * 310} [3]"}, "Expected weights, such as"),
]


@pytest.mark.parametrize(("experts", "changes", "sentence"), REFUSED)
def test_what_can_be_known_is_refused_at_post(refusal, experts, changes, sentence):
    assert sentence in refusal(*experts, **changes)


@pytest.mark.parametrize(
    ("experts", "changes"),
    [
        ([{}, {}], {}),
        ([{"reliability": 0.0}, {}], {}),
        ([{}, {"null": None, "reliability": 0.0}], {"values": "0"}),
        ([{"reliability": 0.0}, {}], {"vary": "weight"}),
        ([{}, {"reliability": ["other", 0]}], {}),
        ([{}, {}], {"values": ["other", 0], "expert_index": 7}),
        ([{}, {}], {"vary": "absolute weight", "values": "1, 2, 4, 6"}),
        ([{}, {"condition": None, "weight": 0.0}], {"vary": "absolute weight", "values": "0"}),
    ],
)
def test_what_can_be_sampled_or_cannot_be_known_passes(refusal, experts, changes):
    assert refusal(*experts, **changes) == ""


def test_what_cannot_be_sampled_is_refused_before_the_first_pass(load, chain, sweep, passes):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    with pytest.raises(ValueError, match="from 1 to 2 to sweep and got 3"):
        sweep(chain(hair, skin), hair.vae, expert_index=3)
    with pytest.raises(ValueError, match=r"Expert 2 \(small skin\) needs a negative"):  # in the second row
        sweep(chain(hair, (skin, {"null": None, "reliability": 0.0, "end": 0.9})), hair.vae)
    with pytest.raises(ValueError, match="32×32"):
        sweep(chain(hair, skin), hair.vae, {"samples": torch.zeros(1, 3, 64, 64)})
    wrong = type(hair.vae).__new__(type(hair.vae))
    wrong.latent_channels = 4
    with pytest.raises(ValueError, match="and got one for 4"):
        sweep(chain(hair, skin), wrong)
    wrong.latent_channels, wrong.output_channels = 3, 2
    with pytest.raises(ValueError, match="decodes pictures and got one of sound"):
        sweep(chain(hair, skin), wrong)
    assert not passes.found

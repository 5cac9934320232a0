"""Langevin Sampler, Particle Sampler and Choose Samples: what they do beside plain loops, and what they refuse."""

import logging
import math
from functools import partial

import pytest
import torch

from ..support.particles import Particles, sample_particles
from .support.asked_alone import asked_alone
from .support.attachments import unclamped
from .support.methods import PLAIN_PASSES
from .support.posts import posted, prompt_node

SIGMAS = (20.0, 3.0, 1.0, 0.5, 0.0)
DETERMINISTIC = ["euler", "heun", "dpm_2", "exp_heun_2_x0", "euler_cfg_pp", "ddim"]
STOCHASTIC = ["euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "ddpm", "lcm", "seeds_2"]


@pytest.fixture
def experts(load, chain):
    return lambda: chain((load("hair"), {"weight": 1.5}), (load("skin"), {"weight": 2.0}))


@pytest.fixture
def run(guide):
    """Sample three pictures of a chain, or with a guider."""
    return partial(guide, batch=3)


@pytest.fixture
def langevin(node):
    """Langevin Sampler around a sampler of ComfyUI's, or of a function."""
    import comfy.samplers

    def make(sampler="euler", corrections=2, ratio=0.1):
        by_name = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
        return node("MCDM_LangevinSampler", sampler=by_name, corrections=corrections, ratio=ratio)[0]

    return make


@pytest.fixture
def particles(node):
    return lambda resample_below=0.5, limit=1.0: node(
        "MCDM_ParticleSampler", resample_below=resample_below, limit=limit
    )[0]


def euler_with_corrections(model, x, sigmas, extra_args, callback, disable):
    """Euler and two corrections of δ = 0.1 σ², with the numbers that the run's seed gives."""
    generator = torch.Generator().manual_seed(extra_args["seed"] + 2)
    for i in range(len(sigmas) - 1):
        sigma, after = sigmas[i].item(), sigmas[i + 1].item()
        torch.randint(2**62, (), generator=generator)
        x = x + (after - sigma) * (x - model(x, torch.full((len(x),), sigma), **extra_args)) / sigma
        for _ in range(2 if after > 0 else 0):
            delta = 0.1 * after**2
            score = (model(x, torch.full((len(x),), after), **extra_args) - x) / after**2
            x = x + delta * score + math.sqrt(2 * delta) * torch.randn(x.shape, generator=generator)
    return x


def test_corrections_beside_a_plain_loop(experts, run, langevin):
    import comfy.samplers

    found = run(experts(), langevin())
    expected = run(experts(), comfy.samplers.KSAMPLER(euler_with_corrections))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert (found - run(experts(), comfy.samplers.sampler_object("euler"))).abs().max() > 0.1


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "ddim"])
def test_without_corrections_it_is_the_sampler_itself(langevin, name):
    import comfy.samplers

    sampler = comfy.samplers.sampler_object(name)
    assert langevin(sampler, corrections=0) is sampler


@pytest.mark.one_of(6)
@pytest.mark.parametrize("name", [*DETERMINISTIC, "MCDM"])
def test_level_by_level_is_the_whole_run(experts, run, langevin, host, node, monkeypatch, name):
    """Where a correction changes nothing."""
    import comfy.samplers

    if name not in ("MCDM", *comfy.samplers.SAMPLER_NAMES):
        pytest.skip(f"this ComfyUI has no {name}")
    monkeypatch.setattr(host.samplers.langevin, "langevin_step", lambda x, *_: x)
    sampler = node("MCDM_SamplerDDIM", eta=0.0)[0] if name == "MCDM" else comfy.samplers.sampler_object(name)
    assert torch.equal(run(experts(), langevin(sampler)), run(experts(), sampler))


@pytest.mark.one_of(8)
@pytest.mark.parametrize("name", [*STOCHASTIC, "MCDM"])
def test_noise_is_the_seeds_and_another_at_every_step(experts, run, langevin, node, monkeypatch, name):
    import comfy.samplers

    sampler = node("MCDM_SamplerDDIM", eta=1.0)[0] if name == "MCDM" else comfy.samplers.sampler_object(name)
    corrected, function, seeds = langevin(sampler), sampler.sampler_function, []

    def watched(*args, extra_args, **more):
        seeds.append(extra_args["seed"])
        return function(*args, extra_args=extra_args, **more)

    monkeypatch.setattr(sampler, "sampler_function", watched)
    first = run(experts(), corrected)
    assert len(set(seeds)) == 4
    assert torch.equal(first, run(experts(), corrected))
    assert first.isfinite().all()
    assert not torch.equal(first, run(experts(), corrected, seed=3))


def test_samplers_that_remember_are_refused(langevin, host):
    import comfy.samplers

    refused = [
        name for name in comfy.samplers.KSampler.SAMPLERS if name not in {*host.samplers.langevin.STEPWISE, "ddim"}
    ]
    assert {"dpmpp_2m", "lms", "uni_pc", "deis", "ipndm", "res_multistep", "sa_solver", "heunpp2"} <= set(refused)
    for name in refused:
        with pytest.raises(ValueError, match=r"takes each step by itself, .* remember earlier steps; choose"):
            langevin(name)


def test_what_a_correction_costs(load, chain, run, langevin, passes):
    hair = passes.watch(load("hair"))
    run(chain((hair, {"weight": 1.0})), langevin(corrections=3))
    assert len(passes.found) == 4 + 3 * 3


def particle_loop(seen):
    """Ancestral sampling of particles in a plain loop, from what the product shows in `seen`."""

    def sample(model, x, sigmas, extra_args, callback, disable):
        model.inner_model.watch(seen.append)

        def asked(x, sigma):
            denoised = model(x, torch.full((len(x),), sigma), **extra_args)
            conds, nulls = ([found[i] for i in (0, 1)] for found in (seen[-1].cond, seen[-1].null))
            return denoised, [*zip((1.5, 2.0, -1.25, -1.25), (*conds, *nulls), strict=True)]

        generator = torch.Generator().manual_seed(extra_args["seed"] + 1)
        return sample_particles(x, sigmas.tolist(), asked, Particles(len(x), 0.5, 1.0, generator))

    return sample


def test_particles_beside_a_plain_loop(experts, run, particles):
    import comfy.samplers

    seen = []
    sigmas = (20.0, 8.0, 3.0, 2.0, 1.0, 0.5, 0.2, 0.0)
    expected = run(experts(), comfy.samplers.KSAMPLER(particle_loop(seen)), batch=6, sigmas=sigmas)
    found = run(experts(), particles(), batch=6, sigmas=sigmas)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert len(seen) == 7


@pytest.mark.parametrize(("resample_below", "same"), [(1.0, True), (0.0, False)])
def test_after_a_resampling_no_prediction_of_other_particles_stands_in_for_a_pass(
    experts, run, particles, node, resample_below, same
):
    (fewer,) = node("MCDM_Passes", experts=experts(), **{**PLAIN_PASSES, "threshold": -1.0, "refresh": 9})
    found, plain = (run(chain, particles(resample_below), batch=4) for chain in (fewer, experts()))
    assert torch.equal(found, plain) is same


def test_what_was_resampled_is_logged(experts, run, particles, caplog):
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        found = run(experts(), particles(resample_below=1.0), batch=4)
    (line,) = [record.getMessage() for record in caplog.records if "Particles" in record.getMessage()]
    assert "after steps 1 (effective size " in line
    roots = line.rpartition(": ")[2].rstrip(".").split(", ")
    assert len(roots) == len(found)
    assert f"go back to {len(set(roots))} of the 4" in line


def pictures(count):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(8)) * 2 - 1


def lifts_by_loops(chain, node, experts, samples, levels, seed):
    """Each expert asked alone, under its condition and then under its null as if that were one."""
    sampling = experts[0].model.get_model_object("model_sampling")
    generator, found = torch.Generator().manual_seed(seed), torch.zeros(len(samples), len(experts))
    for i in range(levels):
        sigma = float(sampling.percent_to_sigma((i + 0.5) / levels))
        sigma = torch.tensor(sigma).item()
        z = torch.randn(3, 32, 32, generator=generator)
        x = samples + sigma * z
        for k, expert in enumerate(experts):
            predicted = [
                (x - asked_alone(chain, node, expert, condition, x, sigma)) / sigma
                for condition in (expert.null, expert.condition)
            ]
            for row in range(len(samples)):
                errors = [(of[row] - z).double().square().mean() for of in predicted]
                found[row, k] += (errors[0] - errors[1]) / levels
    return found


def test_lifts_beside_plain_loops(load, chain, node):
    experts, samples = [unclamped(load("hair")), unclamped(load("skin"))], pictures(4)
    expected = lifts_by_loops(chain, node, experts, samples, 3, 7)
    latent, scores = node(
        "MCDM_Choose", experts=chain(*experts), samples={"samples": samples}, count=2, levels=3, seed=7
    )
    order = expected.amin(1).argsort(descending=True).tolist()
    assert torch.equal(latent["samples"], samples[order[:2]])
    lines = scores.splitlines()
    for line, row in zip(lines, order, strict=True):
        assert line.startswith(f"picture {row + 1}: smallest lift ")
        values = [float(part.split()[-1]) for part in line.partition("(")[2].rstrip(")").split(", ")]
        assert values == pytest.approx(expected[row].tolist(), abs=2e-4)


def test_what_choosing_costs_and_says(load, chain, node, passes, caplog):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    experts = chain((hair, {"weight": 0.4}), (skin, {"weight": 0.6, "reliability": 0.0}))  # which sample without nulls
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        node("MCDM_Choose", experts=experts, samples={"samples": pictures(3)}, count=1, levels=5, seed=0)
    assert sum(call.rows for call in passes.found) == 3 * 5 * 4
    assert "Choosing took 20 rows for each picture: 5 noise levels, at most 2 conditions and 2 nulls" in caplog.text


def test_choosing_keeps_places_and_masks_and_changes_nothing(experts, node):
    samples, mask = pictures(4), torch.rand(4, 1, 32, 32)
    latent = {"samples": samples.clone(), "noise_mask": mask, "batch_index": [7, 8, 9, 10]}
    first, scores = node("MCDM_Choose", experts=experts(), samples=latent, count=3, levels=2, seed=1)
    rows = [int(line.split()[1].rstrip(":")) - 1 for line in scores.splitlines()][:3]
    assert torch.equal(first["samples"], samples[rows])
    assert torch.equal(first["noise_mask"], mask[rows])
    assert first["batch_index"] == [7 + row for row in rows]
    assert torch.equal(latent["samples"], samples)
    assert node("MCDM_Choose", experts=experts(), samples=latent, count=3, levels=2, seed=1)[1] == scores
    assert node("MCDM_Choose", experts=experts(), samples=latent, count=3, levels=2, seed=2)[1] != scores


def test_choosing_tells_when_too_few_are_lifted(load, chain, node, caplog):
    expert = load("hair")
    turned = chain((expert, {"weight": -1.0}))
    both = [*chain((expert, {"weight": 1.0})), *turned]  # what one lifts, the other does not
    node("MCDM_Choose", experts=tuple(both), samples={"samples": pictures(3)}, count=2, levels=2, seed=1)
    assert "Only 0 of the 3 pictures show every prompt; 2 are kept all the same." in caplog.text


@pytest.mark.parametrize(
    ("count", "batch", "settings", "message"),
    [
        (1, 1, {}, r"at least 2 samples to choose from and got 1; raise"),
        (3, 2, {}, r"from 1 to all 2 samples and got 3; lower"),
        (1, 2, {"null": None}, r"Expert 1 .* needs a negative.*Connect null"),
        (1, 2, {"weight": 0.0}, r"weight is not 0 to choose by and got none; raise"),
    ],
)
def test_choices_that_are_refused(load, chain, node, passes, count, batch, settings, message):
    text = passes.watch(load("text"))
    experts = chain((text, settings))
    if settings.get("null", 0) is None:
        from dataclasses import replace

        experts = (replace(experts[0], null=None),)
    with pytest.raises(ValueError, match=message):
        node("MCDM_Choose", experts=experts, samples={"samples": pictures(batch)}, count=count, levels=2, seed=0)
    assert not passes.found


def test_a_sampler_that_remembers_is_refused_at_post(host, node):
    def said(source, corrections=1):
        wrapped = prompt_node("MCDM_LangevinSampler", sampler=["1", 0], corrections=corrections, ratio=0.1)
        return posted(host, node, {"1": source, "2": wrapped}, "2")

    assert said(prompt_node("KSamplerSelect", sampler_name="euler")) is True
    assert said(prompt_node("KSamplerSelect", sampler_name="ddim")) is True
    assert said(prompt_node("MCDM_SamplerDDIM", eta=1.0)) is True
    assert said(prompt_node("SamplerOfAnotherPack")) is True  # nothing is known of it
    assert "got dpmpp_2m, which" in said(prompt_node("KSamplerSelect", sampler_name="dpmpp_2m"))
    assert said(prompt_node("KSamplerSelect", sampler_name="dpmpp_2m"), corrections=0) is True
    assert "got sa_solver, which" in said(prompt_node("SamplerSASolver"))


def test_a_choice_that_is_none_is_refused_at_post(host, node):
    def said(count, batch, class_type="MCDM_EmptyLatent"):
        choose = prompt_node("MCDM_Choose", experts=["e", 0], samples=["run", 0], count=count, levels=8, seed=0)
        run = prompt_node("MCDM_KSampler", latent_image=["latent", 0])
        prompt = {"choose": choose, "run": run, "latent": prompt_node(class_type, batch_size=batch)}
        return posted(host, node, prompt, "choose")

    assert said(2, 4) is True
    assert said(9, 4, "RepeatLatentBatch") is True  # which may start from many
    assert "from 1 to all 4 samples and got 5" in said(5, 4)
    assert "at least 2 samples to choose from and got 1" in said(1, 1)

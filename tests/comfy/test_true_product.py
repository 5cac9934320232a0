"""Langevin Sampler, Particle Sampler and Choose Samples: what they do beside plain loops, and what they refuse."""

import logging
import math

import pytest
import torch

from .support.asked_alone import asked_alone
from .support.attachments import unclamped
from .support.leaks import Living
from .support.posts import posted, said_of

SIGMAS = (20.0, 3.0, 1.0, 0.5, 0.0)
DETERMINISTIC = ["euler", "heun", "dpm_2", "exp_heun_2_x0", "euler_cfg_pp", "ddim"]
STOCHASTIC = ["euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "ddpm", "lcm", "seeds_2"]


@pytest.fixture
def experts(load, chain):
    return lambda: chain((load("hair"), {"weight": 1.5}), (load("skin"), {"weight": 2.0}))


@pytest.fixture
def run(node):
    """Sample a chain, or a guider, with a SAMPLER; returns the samples."""

    def sample(experts=None, sampler=None, guider=None, sigmas=SIGMAS, batch=3, seed=2, **more):
        guider = guider or node("MCDM_Guider", experts=experts)[0]
        noise = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        return guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor(sigmas), seed=seed, **more)

    return sample


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


def test_samplers_that_remember_are_refused(langevin, host, node):
    import comfy.samplers

    refused = [
        name for name in comfy.samplers.KSampler.SAMPLERS if name not in {*host.samplers.langevin.STEPWISE, "ddim"}
    ]
    assert {"dpmpp_2m", "lms", "uni_pc", "deis", "ipndm", "res_multistep", "sa_solver", "heunpp2"} <= set(refused)
    for name in refused:
        with pytest.raises(ValueError, match=r"takes each step by itself, .* remember earlier steps; choose"):
            langevin(name)
    with pytest.raises(ValueError, match=r"got comfy_particles, which"):
        langevin(node("MCDM_ParticleSampler", resample_below=0.5, limit=1.0)[0])


@pytest.mark.parametrize("name", ["langevin", "particles"])
def test_steps_are_reported_once_each(experts, run, langevin, particles, every_step, name):
    seen = []
    sampler = langevin("heun") if name == "langevin" else particles()
    run(experts(), sampler, callback=lambda step, x0, x, total: seen.append((step, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_what_a_correction_costs(load, chain, run, langevin, passes):
    hair = passes.watch(load("hair"))
    run(chain((hair, {"weight": 1.0})), langevin(corrections=3))
    assert len(passes.found) == 4 + 3 * 3


@pytest.mark.parametrize("name", ["langevin", "particles"])
def test_a_run_can_be_cancelled_and_the_next_one_works(experts, run, langevin, particles, node, name):
    import comfy.model_management

    sampler = langevin() if name == "langevin" else particles()
    (guider,) = node("MCDM_Guider", experts=experts())
    before = run(sampler=sampler, guider=guider)

    def cancel(step, x0, x, total):
        if step == 1:
            comfy.model_management.interrupt_current_processing()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(sampler=sampler, guider=guider, callback=cancel)
    assert torch.equal(run(sampler=sampler, guider=guider), before)


@pytest.mark.long
@pytest.mark.parametrize("name", ["langevin", "particles"])
def test_50_runs_give_the_same_and_leave_nothing(experts, run, langevin, particles, node, name):
    sampler = langevin(corrections=1) if name == "langevin" else particles()
    (guider,) = node("MCDM_Guider", experts=experts())
    first = run(sampler=sampler, guider=guider, sigmas=(3.0, 1.0, 0.0))
    for i in range(50):
        assert torch.equal(run(sampler=sampler, guider=guider, sigmas=(3.0, 1.0, 0.0)), first)
        if i == 9:
            before = Living.now()
    after = Living.now()
    assert (after.tensors, after.nbytes) == (before.tensors, before.nbytes)


def particle_loop(seen):
    """Ancestral sampling of particles in a plain loop, from what the product shows in `seen`."""

    def sample(model, x, sigmas, extra_args, callback, disable):
        model.inner_model.watch(seen.append)
        generator = torch.Generator().manual_seed(extra_args["seed"] + 1)
        logs = [0.0] * len(x)
        for i in range(len(sigmas) - 1):
            sigma, after = sigmas[i].item(), sigmas[i + 1].item()
            denoised = model(x, torch.full((len(x),), sigma), **extra_args)
            hair, skin = (seen[-1].cond[i] for i in (0, 1))
            nulls = [seen[-1].null[j] for j in (0, 1)]
            changes = []
            for row in range(len(x)):
                parts = [(1.5, hair[row]), (2.0, skin[row]), *((-1.25, null[row]) for null in nulls)]
                eps = [(c, (x[row].double() - of.double()) / sigma) for c, of in parts]
                combined = sum(c * of for c, of in eps)
                value = combined.square().sum() - sum(c * of.square().sum() for c, of in eps)
                changes.append((sigma - after) / sigma * value.item())
            centre = sum(changes) / len(changes)
            logs = [log + max(-1.0, min(1.0, change - centre)) for log, change in zip(logs, changes, strict=True)]
            shares = [math.exp(log) / sum(map(math.exp, logs)) for log in logs]
            x = denoised + (after / sigma) ** 2 * (x - denoised)
            if 1 / sum(share**2 for share in shares) < len(x) * (1.0 if after == 0 else 0.5) - 1e-6:
                offset = torch.rand((), dtype=torch.float64, generator=generator).item()
                chosen = []
                for k in range(len(x)):
                    place = 0
                    while sum(shares[: place + 1]) <= (k + offset) / len(x):
                        place += 1
                    chosen.append(place)
                x, logs = x[chosen], [0.0] * len(x)
            if after > 0:
                x = x + after * math.sqrt(1 - (after / sigma) ** 2) * torch.randn(x.shape, generator=generator)
        return x

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
    saving = {"start": 0.0, "end": 1.0, "sigma_start": 0.0, "sigma_end": 0.0}
    (fewer,) = node("MCDM_Passes", experts=experts(), **saving, threshold=-1.0, refresh=9, tolerance=0.0)
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


def test_particles_do_not_weigh_what_a_noise_mask_keeps(experts, run, particles, host, monkeypatch):
    areas, original = [], host.samplers.particles.sample_particles

    def seen(*args, area, **more):
        areas.append(area)
        return original(*args, area=area, **more)

    monkeypatch.setattr(host.samplers.particles, "sample_particles", seen)
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1.0
    run(experts(), particles(), denoise_mask=mask)
    assert areas[0][..., :16, :].min() == 1.0
    assert areas[0][..., 16:, :].max() == 0.0


@pytest.mark.parametrize("kind", ["MCDM_OwnNullGuider", "MCDM_ProductModel"])
def test_particles_work_with_every_guider_of_the_pack(load, chain, run, particles, node, product, kind):
    import comfy.samplers

    hair, skin = load("hair"), load("skin")
    if kind == "MCDM_OwnNullGuider":
        (guider,) = node(kind, experts=chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0})))
    else:
        guider = comfy.samplers.CFGGuider(product(hair, chain((skin, {"weight": 2.0}))))
        guider.set_conds(hair.condition, hair.null)
        guider.set_cfg(1.5)
    found = run(sampler=particles(1.0), guider=guider)
    assert torch.equal(found, run(sampler=particles(1.0), guider=guider))
    assert found.isfinite().all()


def test_particles_under_another_guider_are_refused(load, run, particles, passes):
    import comfy.samplers

    hair = passes.watch(load("hair"))
    guider = comfy.samplers.CFGGuider(hair.model)
    guider.set_conds(hair.condition, hair.null)
    with pytest.raises(ValueError, match=r"product of experts, .* got CFGGuider, .*; connect Product Guider"):
        run(sampler=particles(), guider=guider)
    assert not passes.found


def test_a_particle_alone_is_refused(load, chain, run, particles, passes):
    hair = passes.watch(load("hair"))
    with pytest.raises(ValueError, match=r"at least 2 samples, the particles, and got 1; raise"):
        run(chain(hair), particles(), batch=1)
    assert not passes.found


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
    assert "Every expert lifts 0 of the 3 pictures; 2 are kept all the same." in caplog.text


@pytest.mark.parametrize(
    ("count", "batch", "settings", "message"),
    [
        (1, 1, {}, r"at least 2 samples to choose from and got 1; raise"),
        (3, 2, {}, r"from 1 to all 2 samples and got 3; lower"),
        (1, 2, {"null": None}, r"a null for expert 1 .* got none; connect its null"),
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


NAN = math.nan


@pytest.mark.parametrize(
    ("class_type", "inputs", "message"),
    [
        ("MCDM_LangevinSampler", {"sampler": ["2", 0], "corrections": 1, "ratio": NAN}, "at most 1 and got nan"),
        ("MCDM_LangevinSampler", {"sampler": ["2", 0], "corrections": 1, "ratio": -0.5}, "ratio above 0"),
        ("MCDM_ParticleSampler", {"resample_below": -0.5, "limit": 1.0}, "0 to 1, to resample below and got -0.5"),
        ("MCDM_ParticleSampler", {"resample_below": 0.5, "limit": NAN}, "log weight and got nan"),
        ("MCDM_ParticleSampler", {"resample_below": 0.5, "limit": -1.0}, "limit above 0"),
    ],
)
def test_numbers_are_refused_at_post(node, host, class_type, inputs, message):
    assert message in said_of(host, node, class_type, **inputs)


def of(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


def test_a_sampler_that_remembers_is_refused_at_post(host, node):
    def said(source, corrections=1):
        wrapped = of("MCDM_LangevinSampler", sampler=["1", 0], corrections=corrections, ratio=0.1)
        return posted(host, node, {"1": source, "2": wrapped}, "2")

    assert said(of("KSamplerSelect", sampler_name="euler")) is True
    assert said(of("KSamplerSelect", sampler_name="ddim")) is True
    assert said(of("MCDM_SamplerDDIM", eta=1.0)) is True
    assert said(of("SamplerOfAnotherPack")) is True  # nothing is known of it
    assert "got dpmpp_2m, which" in said(of("KSamplerSelect", sampler_name="dpmpp_2m"))
    assert said(of("KSamplerSelect", sampler_name="dpmpp_2m"), corrections=0) is True
    assert "got sa_solver, which" in said(of("SamplerSASolver"))
    assert "got Particle Sampler, which" in said(of("MCDM_ParticleSampler", resample_below=0.5, limit=1.0))


def test_particles_under_another_guider_are_refused_at_post(host, node):
    def said(**nodes):
        sampler = of("MCDM_ParticleSampler", resample_below=0.5, limit=1.0)
        prompt = {"sampler": sampler, "load": of("CheckpointLoaderSimple", ckpt_name="a"), **nodes}
        return posted(host, node, prompt, "sampler")

    run = of("SamplerCustomAdvanced", sampler=["sampler", 0], guider=["guider", 0], latent_image=["latent", 0])
    empty = of("MCDM_EmptyLatent", batch_size=1)
    assert "got CFGGuider, which" in said(run=run, guider=of("CFGGuider", model=["load", 0]))
    lora = of("LoraLoaderModelOnly", model=["load", 0])
    assert "got BasicGuider, which" in said(run=run, guider=of("BasicGuider", model=["lora", 0]), lora=lora)
    made = of("MCDM_ProductModel", model=["load", 0], reliability=1.0, experts=["e", 0])
    assert said(run=run, guider=of("CFGGuider", model=["made", 0]), made=made) is True
    assert said(run=run, guider=of("MCDM_Guider", experts=["e", 0])) is True
    assert "at least 2 samples, the particles, and got 1" in said(
        run=run, guider=of("MCDM_Guider", experts=["e", 0]), latent=empty
    )
    assert "got SamplerCustom, which" in said(run=of("SamplerCustom", sampler=["sampler", 0], model=["load", 0]))


def test_a_choice_that_is_none_is_refused_at_post(host, node):
    def said(count, batch, class_type="MCDM_EmptyLatent"):
        choose = of("MCDM_Choose", experts=["e", 0], samples=["run", 0], count=count, levels=8, seed=0)
        run = of("MCDM_KSampler", latent_image=["latent", 0])
        prompt = {"choose": choose, "run": run, "latent": of(class_type, batch_size=batch)}
        return posted(host, node, prompt, "choose")

    assert said(2, 4) is True
    assert said(9, 4, "RepeatLatentBatch") is True  # which may start from many
    assert "from 1 to all 4 samples and got 5" in said(5, 4)
    assert "at least 2 samples to choose from and got 1" in said(1, 1)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", ["langevin", "particles"])
def test_inspect_shows_the_steps_and_the_particles(load, experts, langevin, particles, node, name):
    import comfy_extras.nodes_custom_sampler as custom

    sampler = langevin() if name == "langevin" else particles()
    given = {
        "noise": custom.Noise_RandomNoise(3),
        "sampler": sampler,
        "sigmas": torch.tensor(SIGMAS),
        "latent_image": {"samples": torch.zeros(3, 3, 32, 32)},
    }
    (guider,) = node("MCDM_Guider", experts=experts())
    expected, _ = custom.SamplerCustomAdvanced().sample(guider=guider, **given)
    latent, _, plot = node("MCDM_Inspect", experts=experts(), vae=load("hair").vae, steps_shown="2", **given)
    assert torch.equal(latent["samples"], expected["samples"])
    given["sampler"] = node("MCDM_SamplerDDIM", eta=0.0)[0]
    plain = node("MCDM_Inspect", experts=experts(), vae=load("hair").vae, steps_shown="2", **given)[2]
    panels = 2 if name == "langevin" else 3
    assert plot.shape[1] / plain.shape[1] == panels / 2

"""Logic Sampler: what it does beside plain loops, and what it refuses."""

import logging
import math

import pytest
import torch

from .support.leaks import Living
from .support.posts import posted, said_of
from .test_true_product import of

SIGMAS = (20.0, 8.0, 3.0, 1.0, 0.5, 0.2, 0.0)
USUAL = {
    "operation": "and",
    "sharpness": 0.01,
    "prior": 0.3,
    "largest": 0.7,
    "corrected": False,
    "resample_below": 0.9,
    "limit": 1.0,
}


@pytest.fixture
def experts(load, chain):
    """Two, and a third to exclude where its weight is below 0."""

    def build(*weights):
        names = ("hair", "skin", "linear")[: len(weights)]
        return chain(*((load(name), {"weight": w}) for name, w in zip(names, weights, strict=True)))

    return build


@pytest.fixture
def run(node):
    """Sample a chain, or a guider, with a SAMPLER; returns the samples."""

    def sample(experts=None, sampler=None, guider=None, batch=4, seed=2, kind="MCDM_Guider", **more):
        guider = guider or node(kind, experts=experts)[0]
        noise = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        given = {"denoise_mask": None, "latent": torch.zeros_like(noise), **more}
        latent = given.pop("latent")
        return guider.sample(noise, latent, sampler, torch.tensor(SIGMAS), seed=seed, **given)

    return sample


@pytest.fixture
def logic(node):
    return lambda **settings: node("MCDM_Logic", **{**USUAL, **settings})[0]


def logic_loop(weights, own_null, **settings):
    """Ancestral sampling of a logic in plain loops, from the predictions that the product shows."""
    given = {**USUAL, **settings}
    e = given["sharpness"] if given["operation"] == "or" else -given["sharpness"]
    positive = [k for k, w in enumerate(weights) if w > 0]

    def combine(logs):
        top = max(e * logs[k] for k in positive)
        parts = {k: math.exp(e * logs[k] - top) / len(positive) for k in positive}
        log_q = (math.log(sum(parts.values())) + top) / e
        if given["operation"] == "equal":
            log_q = sum(logs[k] for k in positive) / len(positive)
        inner = {k: part / sum(parts.values()) for k, part in parts.items()}
        if len(positive) == len(weights):
            return inner, 0.0, False
        odds = given["prior"] * math.exp(min(logs[-1] - log_q, 100.0))
        reached = odds >= given["largest"] / (1 + given["largest"])
        return inner, given["largest"] if reached else odds / (1 - odds), reached

    def meet(inner, m, d, log, drawn, sigma, after):
        """Where two are kept equal, what they count so that they are again but for √½ of what is drawn."""
        kept = 1 - (after / sigma) ** 2
        middle, half = (kept * (d[0] + sign * d[1]) / 2 for sign in (1, -1))
        rest = (1 - math.sqrt(0.5)) * drawn - (m * (kept * d[-1] - middle) if m else 0.0)
        variance = (sigma**2 - after**2) * (1 + after**2) / (1 + sigma**2)
        lag = variance * (log[1] - log[0]) / 2 - float((rest * half).sum())
        more = lag / (2 * (1 + m) * float((half * half).sum()))
        return {k: 0.5 + sign * more for k, sign in zip(inner, (1, -1), strict=True)}

    def sample(model, x, sigmas, extra_args, callback, disable):
        seen, count = [], len(weights)
        equal = given["operation"] == "equal" and len(positive) == 2
        model.inner_model.watch(seen.append)
        generator = torch.Generator().manual_seed(extra_args["seed"] + 1)
        tracked, logs = [[0.0] * count for _ in x], [0.0] * len(x)
        for i in range(len(sigmas) - 1):
            sigma, after = sigmas[i].item(), sigmas[i + 1].item()
            deviation = after * math.sqrt(1 - (after / sigma) ** 2)
            drawn = deviation * torch.randn(x.shape, generator=generator) if equal and after else torch.zeros_like(x)
            model(x, torch.full((len(x),), sigma), **extra_args)
            nulls = [seen[-1].null[seen[-1].plan.null_owners[j]].double() for j in range(count)]
            moved, changes = [], []
            for row in range(len(x)):
                start, d = x[row].double(), []
                for k, w in enumerate(weights):
                    base = nulls[k][row] if own_null else sum(null[row] for null in nulls) / count
                    d.append(base + abs(w) * (seen[-1].cond[k][row].double() - base))
                inner, m, reached = combine(tracked[row])
                if equal:
                    inner = meet(inner, m, d, tracked[row], drawn[row].double(), sigma, after)
                q = sum(share * d[k] for k, share in inner.items())
                raw = (1 + m) * q - m * d[-1] if m else q
                combined = raw.clamp(-1, 1)
                change = -(1 - e) * (1 + m) * sum(share * (d[k] - q).square().sum() for k, share in inner.items())
                if reached:
                    change -= (1 + m) * (q - raw).square().sum() - m * (d[-1] - raw).square().sum()
                changes.append((1 - after / sigma) / sigma**2 * float(change))
                kept = (after / sigma) ** 2
                own = [x0 + kept * (start - x0) for x0 in d]
                moved.append((combined + kept * (start - combined), own, tracked[row]))
            if given["corrected"]:
                centre = sum(changes) / len(changes)
                logs = [log + max(-1.0, min(1.0, change - centre)) for log, change in zip(logs, changes, strict=True)]
                shares = [math.exp(log) / sum(map(math.exp, logs)) for log in logs]
                if 1 / sum(of**2 for of in shares) < len(x) * (1.0 if after == 0 else 0.9) - 1e-6:
                    offset, chosen = torch.rand((), dtype=torch.float64, generator=generator).item(), []
                    for k in range(len(x)):
                        place = 0
                        while sum(shares[: place + 1]) <= (k + offset) / len(x):
                            place += 1
                        chosen.append(moved[place])
                    moved, logs = chosen, [0.0] * len(x)
            x = torch.stack([mean for mean, _, _ in moved]).float()
            tracked = [list(log) for _, _, log in moved]
            if after > 0:
                x = x + (drawn if equal else deviation * torch.randn(x.shape, generator=generator))
                variance = (sigma**2 - after**2) * (1 + after**2) / (1 + sigma**2)
                for row, (mean, own, _) in enumerate(moved):
                    for k in range(count):
                        gained = (x[row] - mean).square().sum() - (x[row] - own[k]).square().sum()
                        tracked[row][k] += float(gained) / (2 * variance)
        return x

    return sample


RUNS = [
    ((1.5, 2.0), {}, "MCDM_Guider"),
    ((1.5, 2.0), {"operation": "or"}, "MCDM_Guider"),
    ((1.5, 2.0), {"corrected": True}, "MCDM_Guider"),
    ((1.5, 2.0), {"operation": "or", "sharpness": 0.3, "corrected": True}, "MCDM_OwnNullGuider"),
    ((1.5, 2.0, -0.5), {"corrected": True}, "MCDM_Guider"),
    ((1.5, -0.5), {}, "MCDM_OwnNullGuider"),
    ((1.5, 2.0), {"operation": "equal"}, "MCDM_Guider"),
    ((1.5, 2.0, -0.5), {"operation": "equal"}, "MCDM_OwnNullGuider"),
]


@pytest.mark.one_of(6)
@pytest.mark.parametrize(("weights", "settings", "kind"), RUNS, ids=str)
def test_beside_plain_loops(experts, run, logic, weights, settings, kind):
    import comfy.samplers

    loop = comfy.samplers.KSAMPLER(logic_loop(weights, kind == "MCDM_OwnNullGuider", **settings))
    found, expected = (run(experts(*weights), sampler, kind=kind) for sampler in (logic(**settings), loop))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    plain = run(experts(*weights), logic(operation="or", sharpness=100.0, largest=0.0), kind=kind)
    assert (found - plain).abs().max() > 0.02


@pytest.mark.parametrize("corrected", [False, True])
def test_an_expert_alone_is_ancestral_sampling_as_particles_of_it_are(experts, run, logic, node, corrected):
    (particles,) = node("MCDM_ParticleSampler", resample_below=0.0, limit=1e-3)
    found = run(experts(1.0), logic(corrected=corrected))
    assert torch.equal(found, run(experts(1.0), particles))


@pytest.mark.parametrize(("weights", "rows"), [((1.0, -1.0), 2), ((1.0, 1.0), 2), ((1.5, 1.0), 4)])
def test_what_it_costs(load, chain, run, logic, passes, weights, rows):
    loaded = [passes.watch(load(name)) for name in ("hair", "skin")]
    run(chain(*((expert, {"weight": w}) for expert, w in zip(loaded, weights, strict=True))), logic(), batch=2)
    assert sum(call.rows for call in passes.found) == 2 * rows * (len(SIGMAS) - 1)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("corrected", [False, True])
def test_a_seed_gives_one_batch(experts, run, logic, corrected):
    sampler, chained = logic(corrected=corrected), experts(1.5, 2.0, -0.5)
    first = run(chained, sampler)
    assert torch.equal(first, run(chained, sampler))
    assert not torch.equal(first, run(chained, sampler, seed=3))


def test_steps_are_reported_once_each(experts, run, logic, every_step):
    seen = []
    run(experts(1.5, 2.0), logic(), callback=lambda step, x0, x, total: seen.append((step, total)))
    assert seen == [(step, 6) for step in range(6)]


def test_a_run_can_be_cancelled_and_the_next_one_works(experts, run, logic, node):
    import comfy.model_management

    (guider,) = node("MCDM_Guider", experts=experts(1.5, 2.0))
    before, plain = run(sampler=logic(), guider=guider), run(sampler=ancestral(node), guider=guider)

    def cancel(step, x0, x, total):
        if step == 1:
            comfy.model_management.interrupt_current_processing()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(sampler=logic(), guider=guider, callback=cancel)
    assert torch.equal(run(sampler=logic(), guider=guider), before)
    assert torch.equal(run(sampler=ancestral(node), guider=guider), plain)  # the product again


def ancestral(node):
    return node("MCDM_SamplerDDIM", eta=1.0)[0]


@pytest.mark.long
def test_50_runs_give_the_same_and_leave_nothing(experts, run, logic, node):
    sampler = logic(corrected=True)
    (guider,) = node("MCDM_Guider", experts=experts(1.5, 2.0))
    attributes, first = set(vars(guider)), run(sampler=sampler, guider=guider, batch=2)
    for i in range(50):
        assert torch.equal(run(sampler=sampler, guider=guider, batch=2), first)
        if i == 9:
            before = Living.now()
    after = Living.now()
    assert (after.tensors, after.nbytes) == (before.tensors, before.nbytes)
    assert set(vars(guider)) == attributes


@pytest.mark.parametrize("operation", ["and", "equal"])
def test_a_noise_mask_keeps_the_rest_and_limits_what_counts(experts, run, logic, host, monkeypatch, operation):
    areas, original = [], host.samplers.logic.sample_logic

    def seen(*args, area, **more):
        areas.append(area)
        return original(*args, area=area, **more)

    monkeypatch.setattr(host.samplers.logic, "sample_logic", seen)
    mask, latent = torch.zeros(1, 32, 32), torch.full((4, 3, 32, 32), 0.25)
    mask[:, :16] = 1.0
    found = run(experts(1.5, 2.0), logic(operation=operation), denoise_mask=mask, latent=latent)
    torch.testing.assert_close(found[..., 16:, :], latent[..., 16:, :], atol=1e-5, rtol=0)
    assert (found[..., :16, :] - 0.25).abs().mean() > 0.1
    assert areas[0][..., :16, :].min() == 1.0
    assert areas[0][..., 16:, :].max() == 0.0


def test_product_as_model_works(load, chain, run, logic, product):
    import comfy.samplers

    hair, skin = load("hair"), load("skin")
    guider = comfy.samplers.CFGGuider(product(hair, chain((skin, {"weight": 2.0}))))
    guider.set_conds(hair.condition, hair.null)
    guider.set_cfg(1.5)
    expected = run(chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0})), logic())
    torch.testing.assert_close(run(sampler=logic(), guider=guider), expected, atol=1e-5, rtol=0)


def test_windows_and_fewer_passes(load, chain, run, logic, node, passes):
    """Nulls of one step in three stand in for those of the others, and an expert is asked in its window alone."""
    hair, skin = (passes.watch(load(name)) for name in ("hair", "skin"))
    late = chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0, "start": 0.4}))
    whole = chain((hair, {"weight": 1.5}), (skin, {"weight": 2.0}))
    saving = {"start": 0.0, "end": 1.0, "sigma_start": 0.0, "sigma_end": 0.0, "tolerance": 0.0, "switch": 0}
    (fewer,) = node("MCDM_Passes", experts=whole, threshold=-1.0, refresh=3, **saving)
    found, rows = [], []
    for chained in (whole, late, fewer):
        passes.found.clear()
        found.append(run(chained, logic(), batch=1))
        rows.append(sum(call.rows for call in passes.found))
    assert rows == [6 * 4, 3 * 2 + 3 * 4, 2 * 4 + 4 * 2]
    assert all(each.isfinite().all() for each in found)
    assert (found[0] - found[1]).abs().max() > 0.001
    assert 0.001 < (found[0] - found[2]).abs().mean() < 0.1


def test_what_was_resampled_is_logged(experts, run, logic, caplog):
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        run(experts(1.5, 2.0), logic())
        assert "Particles resampled" not in caplog.text
        run(experts(1.5, 2.0), logic(corrected=True))
    assert "Particles resampled after steps" in caplog.text


def test_inspect_shows_it(load, experts, logic, node):
    import comfy_extras.nodes_custom_sampler as custom

    given = {"noise": custom.Noise_RandomNoise(3), "sampler": logic(corrected=True), "sigmas": torch.tensor(SIGMAS)}
    given["latent_image"] = {"samples": torch.zeros(3, 3, 32, 32)}
    (guider,) = node("MCDM_Guider", experts=experts(1.0, -1.0))
    expected, _ = custom.SamplerCustomAdvanced().sample(guider=guider, **given)
    shown = node("MCDM_Inspect", experts=experts(1.0, -1.0), vae=load("hair").vae, steps_shown="2", **given)
    assert torch.equal(shown[0]["samples"], expected["samples"])


def test_another_guider_is_refused(load, run, logic, passes):
    import comfy.samplers

    hair = passes.watch(load("hair"))
    guider = comfy.samplers.CFGGuider(hair.model)
    guider.set_conds(hair.condition, hair.null)
    with pytest.raises(ValueError, match=r"product of experts, .* got CFGGuider, .*; connect Product Guider"):
        run(sampler=logic(), guider=guider)
    assert not passes.found


@pytest.mark.parametrize(
    ("weights", "settings", "batch", "message"),
    [
        ((-1.0, -0.5), {}, 2, r"positive weight at every noise level, .* expert 1.*; raise the weight"),
        ((1.5, 2.0), {"corrected": True}, 1, r"at least 2 samples, the particles, and got 1; raise"),
        ((1.5, 2.0), {"corrected": True, "operation": "equal"}, 2, r"got corrected ones of equal densities, .* turn"),
    ],
)
def test_runs_that_are_refused_before_any_pass(load, chain, run, logic, passes, weights, settings, batch, message):
    loaded = [passes.watch(load(name)) for name in ("hair", "skin")]
    chained = chain(*((expert, {"weight": w}) for expert, w in zip(loaded, weights, strict=True)))
    with pytest.raises(ValueError, match=message):
        run(chained, logic(**settings), batch=batch)
    assert not passes.found


def test_a_corrector_around_it_is_refused(node, logic):
    with pytest.raises(ValueError, match=r"got comfy_logic, which"):
        node("MCDM_LangevinSampler", sampler=logic(), corrections=1, ratio=0.1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"sharpness": 0.0}, "sharpness above 0 and got 0; set"),
        ({"sharpness": -1.0}, "sharpness above 0 and got -1; set"),
        ({"sharpness": math.nan}, "sharpness above 0 and got nan"),
        ({"prior": 0.0}, "prior above 0 and got 0"),
        ({"largest": -1.0}, "count at most and got -1"),
        ({"resample_below": 1.5}, "0 to 1, to resample below and got 1.5"),
        ({"limit": math.nan}, "log weight and got nan"),
        ({"operation": "xor"}, "operation of and, or, equal, and got xor; choose"),
        ({"operation": "equal", "corrected": True}, "got corrected ones of equal densities, for which no weights are"),
    ],
)
def test_settings_are_refused_at_post(node, host, inputs, message):
    assert message in said_of(host, node, "MCDM_Logic", **{**USUAL, **inputs})
    assert said_of(host, node, "MCDM_Logic", **USUAL) is True
    others = {"sharpness": "some", "operation": 1}  # of these ComfyUI says what is wrong
    assert said_of(host, node, "MCDM_Logic", **{**USUAL, **others}) is True


def test_what_takes_it_is_checked_at_post(host, node):
    def said(corrected=False, **nodes):
        sampler = of("MCDM_Logic", **{**USUAL, "corrected": corrected})
        prompt = {"sampler": sampler, "load": of("CheckpointLoaderSimple", ckpt_name="a"), **nodes}
        return posted(host, node, prompt, "sampler")

    run = of("SamplerCustomAdvanced", sampler=["sampler", 0], guider=["guider", 0], latent_image=["latent", 0])
    ours = {"run": run, "guider": of("MCDM_Guider", experts=["e", 0])}
    assert "got CFGGuider, which" in said(run=run, guider=of("CFGGuider", model=["load", 0]))
    assert "got SamplerCustom, which" in said(run=of("SamplerCustom", sampler=["sampler", 0], model=["load", 0]))
    assert said(**ours, latent=of("MCDM_EmptyLatent", batch_size=1)) is True
    assert "the particles, and got 1" in said(True, **ours, latent=of("MCDM_EmptyLatent", batch_size=1))
    window = {"start": 0.0, "end": 1.0, "sigma_start": 0.0, "sigma_end": 0.0}
    agreeing = of("MCDM_AgreementWeights", experts=["x", 0], tau=300.0, patch=5, **window)
    assert "got agreement weights" in said(**ours, e=agreeing, x=of("MCDM_Expert"))
    bare = {"model": ["load", 0], "condition": ["c", 0], "reliability": 1.0, "start": 0.0, "end": 1.0}
    first = of("MCDM_Expert", **bare, weight=-1.0)
    for weight, refused in ((-0.5, True), (0.5, False)):
        second = of("MCDM_Expert", **bare, weight=weight, experts=["first", 0])
        answer = said(**ours, e=second, first=first)
        assert ("none among expert 1, expert 2; raise" in answer) if refused else answer is True
    wrapped = of("MCDM_LangevinSampler", sampler=["sampler", 0], corrections=1, ratio=0.1)
    prompt = {"sampler": of("MCDM_Logic", **USUAL), "wrapped": wrapped}
    assert "got Logic Sampler, which" in posted(host, node, prompt, "wrapped")

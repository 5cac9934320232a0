"""The core and ComfyUI give the same picture, and scores, from the same seed; levels and VAE of pixel experts."""

from types import SimpleNamespace

import comfy.model_sampling
import comfy.sample
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from mcdm_pack.mcdm_core import sampling
from mcdm_pack.mcdm_core.product.methods.lift_scores import LiftScores
from mcdm_pack.mcdm_core.product.rules.eq10 import EQ10
from mcdm_pack.mcdm_core.product.rules.own_null import OWN_NULL
from mcdm_pack.nodes.host.files.conditioning import read_condition

from ..support.cases import PLAIN_PASSES

LEVEL = 2 / 255


@pytest.fixture
def both(load, load_latent, node, chain, core, base, host):
    """Draw two pictures with files of experts, in ComfyUI with this SAMPLER and by the core; returns the samples.

    The last expert has a curve for its weight, if one is given; `chained` is what nodes make of the chain. Where scores
    are gathered, they are the same, too.
    """

    def draw(names, in_comfyui, kind="MCDM_Guider", weights=(), curve=(), chained=None, scores=False, **by_core):
        loads, terms = {"small": load, "latent": load_latent}, []
        weights = weights or (1.5,) * len(names)
        experts = [loads[kind](name) for kind, name in map(str.split, names)]
        (latent,) = node("MCDM_EmptyLatent", encoder=experts[0].encoder, batch_size=2)
        (sigmas,) = node("MCDM_Sigmas", model=experts[0].model, spacing="10", denoise=1.0)
        settings = [{"weight": weight} for weight in weights]
        product = chain(*zip(experts, settings, strict=True))
        product = chained(product) if chained else product
        (guider,) = node(kind, experts=product, scores=scores)
        out, _ = custom.SamplerCustomAdvanced().sample(custom.Noise_RandomNoise(3), guider, in_comfyui, sigmas, latent)
        for name, expert, weight in zip(names, experts, weights, strict=True):
            own = {"weight": weight, "weight_curve": curve if name == names[-1] else ()}
            condition, null = (read_condition(*reversed(value[0])) for value in (expert.condition, expert.null))
            loaded = core.load_expert(base / "models" / "mcdm" / f"{name}.safetensors")
            terms.append(core.Term(loaded, condition, null, **own))
        noise = torch.randn(latent["samples"].shape, generator=torch.Generator().manual_seed(3))
        gathered, generator = LiftScores(terms), torch.Generator().manual_seed(4)
        by_core["settings"] = [*by_core.get("settings", ()), *[gathered] * scores]
        samples = core.sample_product(terms, noise, "10", generator=generator, **by_core)
        if scores:
            found = host.run.scores.scores_of(out["samples"], product)
            torch.testing.assert_close(found, gathered.of(samples), atol=1e-5, rtol=1e-2)
        assert (samples.abs() < 1).float().mean() > 0.1  # saturated pixels compare nothing
        pictures = (terms[0].expert.decode(samples).movedim(1, -1) + 1) / 2
        if names[0].startswith("latent"):
            pictures = pictures.clamp(0, 1)  # as ComfyUI's VAE does
        assert (experts[0].vae.decode(out["samples"]) - pictures).abs().max() < LEVEL
        return out["samples"], samples

    return draw


PIXELS = [["small hair"], ["small hair", "small skin"], ["small skin", "small text", "small sketch"]]
PIXELS += [["small hair", "small linear"]]
LATENTS = [["latent hair"], ["latent hair", "latent skin"]]
LATENTS += [["latent skin", "latent text", "latent sketch", "latent class"]]


@pytest.mark.one_of(5)
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("names", [*PIXELS, *LATENTS], ids=" + ".join)
def test_same_seed_same_picture(both, node, names, eta):
    ours, theirs = both(names, node("MCDM_SamplerDDIM", eta=eta)[0], eta=eta)
    if names in LATENTS:
        assert theirs.abs().max() > 1.05  # beyond what would be clamped of pictures
        torch.testing.assert_close(ours, theirs, atol=1e-3 * float(theirs.std()), rtol=0)


LOGIC = [("or", (1.5, 2.0)), ("and", (1.5, 2.0)), ("or", (1.5, 2.0, -0.5)), ("and", (1.5, 2.0, -0.5))]


@pytest.mark.one_of(4)
@pytest.mark.parametrize("rule", ["Guider", "OwnNullGuider"])
@pytest.mark.parametrize(("operation", "weights"), LOGIC, ids=str)
def test_same_logic(both, core, node, operation, weights, rule):
    names = ["small hair", "small linear", "small skin"][: len(weights)]
    by_core = {"sampler": sampling.sample_logic, "rule": OWN_NULL if rule.startswith("Own") else EQ10}

    def drawn(largest):
        settings = {"operation": operation, "sharpness": 0.3, "largest": largest}
        (sampler,) = node("MCDM_Logic", prior=0.9, **settings)
        return both(names, sampler, f"MCDM_{rule}", weights, logic=core.Logic(excluded=0.9, **settings), **by_core)

    ours, theirs = drawn(0.7)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
    if len(weights) > 2:
        assert (drawn(2.0)[0] - ours).abs().max() > 0.02  # it is reached


POLICIES = {
    "none": {},
    "adaptive null": {"threshold": -1.0, "refresh": 3},
    "interval": {"start": 0.2, "end": 0.7},
    "all": {"end": 0.8, "threshold": -1.0, "refresh": 2},
    "turns": {"switch": 2},
}


@pytest.mark.one_of(4)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("names", [["small hair", "small linear"], ["latent skin", "latent text"]], ids=" + ".join)
def test_same_passes(both, core, node, names, policy):
    """With a weight curve for the second."""
    curve = ((0.0, 0.5), (0.5, 1.5), (1.0, 1.0))
    curved = {"sigma_start": 0.0, "sigma_end": 0.0, "weight_curve": "0: 0.5, 0.5: 1.5, 1: 1"}

    def chained(experts):
        (experts,) = node("MCDM_Schedule", experts=experts, **curved)
        return node("MCDM_Passes", experts=experts, **{**PLAIN_PASSES, **POLICIES[policy]})[0]

    settings = [core.Passes(**POLICIES[policy])]
    (sampler,) = node("MCDM_SamplerDDIM", eta=0.0)
    ours, theirs = both(names, sampler, curve=curve, chained=chained, settings=settings, scores=True, eta=0.0)
    torch.testing.assert_close(ours, theirs, atol=1e-3 * float(theirs.std()), rtol=0)


@pytest.mark.parametrize(("denoise", "steps"), [(1.0, 100), (0.3, 30), (0.0, -1)])
def test_denoise_keeps_the_last_steps(load, node, denoise, steps):
    (sigmas,) = node("MCDM_Sigmas", model=load("hair").model, spacing="100", denoise=denoise)
    assert len(sigmas) == steps + 1


def test_timesteps_invert_noise_levels(load):
    sampling = load("hair").model.get_model_object("model_sampling")
    t = torch.linspace(0, 999, 1234)
    torch.testing.assert_close(sampling.timestep(sampling.sigma(t)), t, atol=2e-3, rtol=0)


def test_the_pixel_space_vae_keeps_every_level(load):
    vae = load("hair").vae
    picture = (torch.arange(256.0) / 255).reshape(1, 16, 16, 1).expand(-1, -1, -1, 3)
    latent = vae.encode(picture)
    assert latent.shape == (1, 3, 16, 16)
    torch.testing.assert_close(latent.amin().item(), -1.0)
    torch.testing.assert_close(vae.decode(latent), picture, atol=1e-6, rtol=0)


def test_steps_add_other_noise_than_the_start(host):
    """Both are drawn from the seed of the run; the same numbers twice would only scale the start noise."""
    latent = torch.zeros(1, 4, 32, 32)

    def model(x, sigma, **_):
        return latent

    model.inner_model = SimpleNamespace(inner_model=SimpleNamespace(model_sampling=object()))
    step = host.samplers.ddim.sample_comfy_ddim
    added = step(model, latent.clone(), torch.tensor([2.0, 1.0]), extra_args={"seed": 5}, disable=True, eta=1.0)
    start = comfy.sample.prepare_noise(latent, 5)
    assert added.std() > 0.1
    assert abs(torch.corrcoef(torch.stack([added.flatten(), start.flatten()]))[0, 1]) < 0.1

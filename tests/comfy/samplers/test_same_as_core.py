"""The core and ComfyUI give the same picture from the same seed."""

import math
from types import SimpleNamespace

import comfy.model_sampling
import comfy.sample
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from mcdm_pack.mcdm_core import sampling
from mcdm_pack.nodes.host.files.conditioning import read_condition

LEVEL = 2 / 255


@pytest.fixture
def both(load, load_latent, node, chain, core, base):
    """Draw two pictures with files of experts, in ComfyUI with this SAMPLER and by the core; returns the samples."""

    def draw(names, in_comfyui, **by_core):
        loads, terms = {"small": load, "latent": load_latent}, []
        experts = [loads[kind](name) for kind, name in map(str.split, names)]
        (latent,) = node("MCDM_EmptyLatent", encoder=experts[0].encoder, batch_size=2)
        (sigmas,) = node("MCDM_Sigmas", model=experts[0].model, spacing="10", denoise=1.0)
        (guider,) = node("MCDM_Guider", experts=chain(*experts))
        out, _ = custom.SamplerCustomAdvanced().sample(custom.Noise_RandomNoise(3), guider, in_comfyui, sigmas, latent)
        for name, expert in zip(names, experts, strict=True):
            condition, null = (read_condition(*reversed(value[0])) for value in (expert.condition, expert.null))
            loaded = core.load_expert(base / "models" / "mcdm" / f"{name}.safetensors")
            terms.append(core.Term(loaded, condition, null, weight=1.5))
        noise = torch.randn(latent["samples"].shape, generator=torch.Generator().manual_seed(3))
        samples = core.sample_product(terms, noise, "10", generator=torch.Generator().manual_seed(4), **by_core)
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
    else:
        assert (theirs.abs() < 1).float().mean() > 0.1  # saturated pixels compare nothing


def test_same_logic(both, core, node):
    (sampler,) = node("MCDM_Logic", operation="or", sharpness=0.01, prior=0.5, largest=2.0)
    by_core = {"sampler": sampling.sample_logic, "logic": core.Logic(operation="or", sharpness=0.01)}
    both(["small hair", "small skin"], sampler, **by_core)


def test_timestep_spacing_visits_the_papers_timesteps(load, node):
    model = load("hair").model
    (sigmas,) = node("MCDM_Sigmas", model=model, spacing="100", denoise=1.0)
    timesteps = model.get_model_object("model_sampling").timestep(sigmas[:-1])
    torch.testing.assert_close(timesteps[:3], torch.tensor([999.0, 989.0, 979.0]), atol=1e-2, rtol=0)
    torch.testing.assert_close(timesteps[-2:], torch.tensor([10.0, 0.0]), atol=1e-2, rtol=0)
    assert sigmas[-1] == 0


@pytest.mark.parametrize(("denoise", "steps"), [(1.0, 100), (0.3, 30), (0.0, -1)])
def test_denoise_keeps_the_last_steps(load, node, denoise, steps):
    (sigmas,) = node("MCDM_Sigmas", model=load("hair").model, spacing="100", denoise=denoise)
    assert len(sigmas) == steps + 1


def test_timesteps_invert_noise_levels(load):
    sampling = load("hair").model.get_model_object("model_sampling")
    t = torch.linspace(0, 999, 1234)
    torch.testing.assert_close(sampling.timestep(sampling.sigma(t)), t, atol=2e-3, rtol=0)


def test_levels_of_flows_and_noise_predictors_meet(host):
    flow, eps = comfy.model_sampling.ModelSamplingDiscreteFlow(), comfy.model_sampling.ModelSamplingDiscrete()

    class Flow(type(flow), comfy.model_sampling.CONST):
        pass

    class Eps(type(eps), comfy.model_sampling.EPS):
        pass

    x0, n = torch.full((1, 4, 2, 2), 0.5), torch.full((1, 4, 2, 2), -0.25)
    flow, eps = (host.evaluation.noise_levels.form_of(kind(), x0.shape) for kind in (Flow, Eps))
    align, at = host.evaluation.product.align, host.evaluation.product.NoiseLevel
    s = torch.tensor([0.75])
    x, sigma = align(0.25 * x0 + 0.75 * n, s, at(0.75), flow, eps)
    torch.testing.assert_close(sigma, torch.tensor([3.0]))
    torch.testing.assert_close(x, x0 + 3 * n)
    back, level = align(x, sigma, at(3.0), eps, flow)
    torch.testing.assert_close(level, s)
    torch.testing.assert_close(back, 0.25 * x0 + 0.75 * n)
    pure, highest = align(n, torch.tensor([1.0]), at(1.0), flow, eps)
    assert highest.item() == pytest.approx(eps.sigma_max)
    torch.testing.assert_close(pure, n * math.hypot(1, eps.sigma_max))


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

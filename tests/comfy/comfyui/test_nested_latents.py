"""Products of models that make several latents together, a video and its sound."""

from types import SimpleNamespace

import comfy.samplers
import comfy.utils
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from comfy.model_sampling import CONST, ModelSamplingAV

from ..support.core_samplers import core_ksampler
from ..support.families.sounding import SOUND, VIDEO, empty_latent, random_latent, sounding_expert
from ..support.families.spaces import expert_in
from ..support.oracle.core_guiders import core_guider, sample_by_core_guiders

SETTINGS = {"seed": 5, "steps": 4, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
SIGMAS = torch.tensor([1.0, 0.9, 0.6, 0.0])


@pytest.fixture
def run():
    """Sample a guider on a nested latent; returns its parts."""

    @torch.no_grad()
    def sample(guider, start=None, sigmas=SIGMAS, **more):
        start = start or empty_latent()["samples"]
        euler = comfy.samplers.sampler_object("euler")
        return guider.sample(random_latent(2), start, euler, sigmas, disable_pbar=True, seed=3, **more).unbind()

    return sample


@pytest.fixture
def product(node, chain):
    """The guider of a chain."""
    return lambda *entries: node("MCDM_Guider", experts=chain(*entries))[0]


def brute_force(experts):
    """Eq. 10 in float64 by core's guiders, on a latent that each unpacks."""
    return sample_by_core_guiders(experts, random_latent(2), SIGMAS, latent=empty_latent()["samples"]).unbind()


def assert_same(ours, theirs):
    assert [part.shape for part in ours] == [VIDEO, SOUND]
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
        assert other.std() > 0.1


def assert_close(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4 * other.std().item(), rtol=0)


def test_random_noise_of_a_temperature(node):
    latent = empty_latent()
    (noise,) = node("MCDM_RandomNoise", noise_seed=4, temperature=0.5)
    standard = custom.Noise_RandomNoise(4).generate_noise(latent).unbind()
    assert_same(noise.generate_noise(latent).unbind(), [0.5 * part for part in standard])


@pytest.mark.parametrize("masked", [False, True])
def test_one_expert_is_cores_guider(product, run, masked):
    expert, more = sounding_expert(1), {}
    if masked:
        mask = torch.zeros(1, 1, 2, 2, 3)
        mask[..., :2] = 1.0
        more = {"start": random_latent(7), "denoise_mask": mask}
    assert_same(run(product((expert, {"weight": 2.0})), **more), run(core_guider(expert, 2.0), **more))


def test_ksampler(node, chain):
    expert, latent = sounding_expert(1), empty_latent()
    (out,) = node("MCDM_KSampler", experts=chain((expert, {"weight": 2.0})), latent_image=latent, **SETTINGS)
    assert_same(out["samples"].unbind(), core_ksampler(expert.model, expert, 2.0, latent=latent).unbind())


@pytest.mark.parametrize("count", [2, 3])
def test_a_product_is_brute_force(product, run, count):
    weights, reliabilities = (1.6, 0.9, -0.5), (1.0, 2.0, 0.5)
    experts = [sounding_expert(1 + i) for i in range(count)]
    settings = [{"weight": w, "reliability": a} for w, a in zip(weights, reliabilities, strict=True)][:count]
    ours = run(product(*zip(experts, settings, strict=True)))
    assert_close(ours, brute_force([SimpleNamespace(**vars(e), **s) for e, s in zip(experts, settings, strict=True)]))


def test_product_as_model(node, chain, product, run):
    first, second = sounding_expert(1), sounding_expert(2)
    (model,) = node("MCDM_ProductModel", model=first.model, reliability=1.0, experts=chain(second))
    hosted = core_guider(SimpleNamespace(model=model, condition=first.condition, null=first.null), 2.0)
    assert_close(run(hosted), run(product((first, {"weight": 2.0}), second)))


def test_a_mask_is_the_videos_and_the_sound_is_everyones(product, run):
    """At the first level each frame is its own expert's, and the sound that of the product without masks."""
    first, second = sounding_expert(1), sounding_expert(2)
    frames = torch.zeros(2, 16, 16)
    frames[:1] = 1.0
    settings = {"weight": 3.0, "mask": frames}, {"weight": 2.0, "mask": 1 - frames}
    single = SIGMAS[[0, -1]]
    video, sound = run(product((first, settings[0]), (second, settings[1])), sigmas=single)
    (ours, _), (theirs, _) = (run(core_guider(expert, w), sigmas=single) for expert, w in ((first, 3.0), (second, 2.0)))
    torch.testing.assert_close(video[:, :, :1], ours[:, :, :1], atol=1e-3, rtol=0)
    torch.testing.assert_close(video[:, :, 1:], theirs[:, :, 1:], atol=1e-3, rtol=0)
    _, everywhere = run(product((first, {"weight": 3.0}), (second, {"weight": 2.0})), sigmas=single)
    torch.testing.assert_close(sound, everywhere, atol=1e-4, rtol=0)


def test_callbacks_get_the_parts(product, run):
    seen = []
    run(product(sounding_expert(1), sounding_expert(2)), callback=lambda step, x0, x, total: seen.append(x0.unbind()))
    assert [[part.shape for part in parts] for parts in seen] == [[VIDEO, SOUND]] * 3


class VideoVAE:
    """Decodes a video's latents to their first channels."""

    latent_channels = VIDEO[1]

    def decode(self, samples):
        return samples[:, :3].movedim(1, -1).sigmoid()


def test_inspect(node, chain, product, run):
    experts = chain(sounding_expert(1), (sounding_expert(2), {"mask": torch.full((1, 8, 8), 0.5)}))
    given = {
        "noise": custom.Noise_RandomNoise(3),
        "sampler": comfy.samplers.sampler_object("euler"),
        "sigmas": SIGMAS,
        "latent_image": {**empty_latent(), "noise_mask": torch.ones(1, 1, 2, 2, 3)},
    }
    (guider,) = node("MCDM_Guider", experts=experts)
    expected = custom.SamplerCustomAdvanced.execute(guider=guider, **given).args[0]
    latent, pictures, plots = node("MCDM_Inspect", experts=experts, vae=VideoVAE(), steps_shown="2", **given)
    assert_same(latent["samples"].unbind(), expected["samples"].unbind())
    assert pictures.shape[0] == plots.shape[0] == 1


def test_what_inspect_records_is_the_product(host, chain):
    experts = chain((sounding_expert(1), {"weight": 1.5}), (sounding_expert(2), {"weight": 2.0}))
    euler = comfy.samplers.sampler_object("euler")
    arguments = (custom.Noise_RandomNoise(3), euler, SIGMAS, empty_latent(), "1, 2, 3")
    for step in host.pictures.recording.sample_recorded(experts, *arguments)[1].shown():
        combined = step.uncond + 1.5 * (step.cond[0] - step.uncond) + 2.0 * (step.cond[1] - step.uncond)
        torch.testing.assert_close(step.denoised, combined, atol=1e-4 * combined.std().item(), rtol=0)


def test_sweep(node, chain, sweep):
    both = sounding_expert(1), sounding_expert(2)
    samples, _ = sweep(chain(*both), VideoVAE(), empty_latent(), values="0.25, 1", seeds=1, steps=4)
    cells = []
    for value in (0.25, 1.0):
        settings = {"reliability": 1 - value}, {"reliability": value}
        mixed = chain(*zip(both, settings, strict=True))
        (cell,) = node("MCDM_KSampler", experts=mixed, latent_image=empty_latent(), **SETTINGS)
        cells.append(cell["samples"].unbind())
    for part, expected in zip(samples.unbind(), zip(*cells, strict=True), strict=True):
        assert torch.equal(part, torch.cat(expected))


def test_experts_of_one_latent_are_refused(product, run):
    sounding, silent = sounding_expert(1), expert_in("LTXV", 2)
    with pytest.raises(ValueError, match=r"makes all of a nested latent for expert 2, .*; sample the parts apart"):
        run(product(sounding, silent))
    with pytest.raises(ValueError, match=r"makes all of a nested latent for expert 1, .*; sample the parts apart"):
        run(product(silent))
    with pytest.raises(ValueError, match="Expected a latent of 16 channels for expert 1"):
        run(product(expert_in("Wan21", 1)))
    run(product(sounding))


def test_scores_are_of_all_parts_and_of_flows_too(node, chain, host):
    experts = chain((sounding_expert(1), {"weight": 2.0}), (sounding_expert(2), {"weight": 1.5}))
    (guider,) = node("MCDM_Guider", experts=experts, scores=True)
    guider.observer = (seen := []).append
    euler = comfy.samplers.sampler_object("euler_ancestral")
    made = guider.sample(random_latent(2), empty_latent()["samples"], euler, SIGMAS, disable_pbar=True, seed=3)
    x0, expected = host.comfyui.latents.pack(made.unbind()).double().cpu(), torch.zeros(1, 2, dtype=torch.float64)
    for k in range(2):
        for call in seen:
            errors = [(x0 - of.double().cpu()).square().mean() for of in (call.null[k], call.cond[k])]
            expected[0, k] += (errors[0] - errors[1]) / len(seen)
    assert len(seen) == 3
    torch.testing.assert_close(host.run.scores.scores_of(made, experts), expected, atol=1e-6, rtol=1e-4)


def test_sounds_at_two_scales_are_refused(product, run):
    class Sampling(ModelSamplingAV, CONST):
        pass

    first, second = sounding_expert(1), sounding_expert(2)
    for expert, shift in ((first, 2.0), (second, 3.0)):
        sampling = Sampling()
        sampling.set_parameters(shift=shift, audio_shift=1.0, multiplier=1.0)
        expert.model = expert.model.clone()
        expert.model.add_object_patch("model_sampling", sampling)
    with pytest.raises(ValueError, match=r"expert 1 does at 2 and expert 2 at 3; give"):
        run(product(first, second))

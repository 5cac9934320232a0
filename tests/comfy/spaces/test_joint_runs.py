"""Runs of several latent spaces: what they ask, what they load, and what they leave behind."""

from collections import Counter
from contextlib import contextmanager

import comfy.latent_formats
import comfy.model_management
import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from mcdm_pack.benchmarks.memory import Allocations

from ..support.closeness import FUSED, rounded
from ..support.leaks import Living, state_of
from ..support.oracle import joint
from ..support.oracle.core_guiders import core_guider
from ..support.small_runs import SEED, sampled

LEVELS = (8.0, 2.0, 0.6, 0.0)


@pytest.fixture
def run(node):
    """Sample a chain, or a guider."""

    def sample(experts=None, guider=None, sampler="euler", levels=LEVELS, shape=(1, 4, 4, 4), **more):
        guider = guider or node("MCDM_Guider", experts=experts)[0]
        return sampled(guider, sampler, shape=shape, sigmas=levels, seed=joint.SEED, **more)

    return sample


@pytest.fixture
def coded(monkeypatch):
    """Counts, for each VAE that is watched, how often its network encodes and decodes, and ComfyUI's own functions."""
    calls = Counter()

    def watch(name, vae):
        network = vae.first_stage_model
        for owner, kind in ((network, "encode"), (network, "decode"), (vae, "encode"), (vae, "decode")):
            function, key = getattr(owner, kind), f"{name}: {kind}{' of the VAE' if owner is vae else ''}"

            def counted(*args, function=function, key=key, **more):
                calls[key] += 1
                return function(*args, **more)

            monkeypatch.setattr(owner, kind, counted)

    watch.calls = calls
    return watch


def two(spaces, weights=((2.0, 1.0), (-0.5, 1.0)), others=((1.5, 2.0), (0.7, 0.5))):
    """Latents, which are the reference, and pixels; two experts each."""
    return [spaces("latents", (32, 32), *weights), spaces("pixels", (32, 32), *others)]


# What is asked


def test_an_evaluation_makes_three_maps_of_a_space_at_most_and_one_back(spaces, joint_chain, run, coded):
    """P, N and U of the other space come to the reference; the reference's x0 is decoded once for all others."""
    groups = [*two(spaces, others=((1.5, 2.0), (-0.7, 0.5))), spaces("SD1.5", (64, 64), (1.0, 0.5))]
    for name, group in zip(("first", "second", "third"), groups, strict=True):
        coded(name, group.vae)
    run(joint_chain(groups))
    steps = len(LEVELS) - 1
    assert coded.calls == {
        "first: decode": steps,
        "first: encode": 5 * steps,
        "second: decode": 3 * steps,
        "second: encode": steps,
        "third: decode": 2 * steps,
        "third: encode": steps,
    }


def test_nulls_that_count_nothing_are_neither_asked_nor_mapped(spaces, joint_chain, run, coded, passes):
    """Since W = A in each space."""
    groups = two(spaces, ((0.5, 0.5),), ((0.5, 0.5),))
    for name, group in zip(("first", "second"), groups, strict=True):
        coded(name, group.vae)
        passes.watch(group.members[0].loaded)
    run(joint_chain(groups))
    assert coded.calls == dict.fromkeys(("first: decode", "first: encode", "second: decode", "second: encode"), 3)
    assert [call.rows for call in passes.found] == [1] * 6


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", ["pixels", "latents", "SDXL"])
def test_in_one_space_no_vae_is_called_and_no_bit_differs(spaces, chain, run, coded, loads, name):
    group = spaces(name, (32, 32), (2.0, 1.0), (-0.5, 1.0))
    coded("own", group.vae)
    settings = [{"weight": m.weight, "reliability": m.reliability} for m in group.members]
    experts = [member.loaded for member in group.members]
    shape = (1, *group.shape)
    plain = run(chain(*zip(experts, settings, strict=True)), shape=shape)
    with_vae = [own | {"vae": group.vae} for own in settings]
    loads.clear()
    assert torch.equal(run(chain(*zip(experts, with_vae, strict=True)), shape=shape), plain)
    assert not coded.calls
    assert all(group.vae.first_stage_model not in call for call in loads)


def test_all_is_loaded_in_one_call_and_ends_with_the_run(spaces, joint_chain, run, loads):
    groups = two(spaces)
    run(joint_chain(groups))
    (call,) = loads
    assert {group.vae.first_stage_model for group in groups} <= call
    assert {member.loaded.model.model for group in groups for member in group.members} <= call


@pytest.mark.parametrize("reference", ["latents", "Qwen-Image"])
def test_the_guider_sees_the_references_samples_alone(spaces, joint_chain, run, joint, every_step, reference):
    """And so do callbacks, CFG hooks and other packs' wrappers; a sample of one frame remains one."""
    groups = [spaces(reference, (32, 32), (2.0, 1.0)), spaces("pixels", (32, 32), (1.5, 2.0))]
    own = tuple(joint.framed(groups[0].format, torch.zeros(1, *groups[0].shape)).shape)
    shown, hooked, wrapped = [], [], []
    model = groups[0].members[0].loaded.model = groups[0].members[0].loaded.model.clone()
    model.set_model_sampler_post_cfg_function(
        lambda args: hooked.append([tuple(args[name].shape) for name in ("input", "denoised")]) or args["denoised"]
    )

    def wrapper(executor, x, *args, **more):
        x0 = executor(x, *args, **more)
        wrapped.append([tuple(x.shape), tuple(x0.shape)])
        return x0

    model.add_wrapper(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, wrapper)
    levels = (0.9, 0.6, 0.25, 0.0)
    run(joint_chain(groups), levels=levels, shape=own, callback=lambda *told: shown.append(told))
    assert [(step, tuple(x0.shape), tuple(x.shape), total) for step, x0, x, total in shown] == [
        (step, own, own, 3) for step in range(3)
    ]
    assert hooked == wrapped == [[own, own]] * 3


def test_hooks_on_guidance_are_given_c_u_and_the_sum_of_the_weights(spaces, joint_chain, run):
    """As in one space: what they are shown makes up the product, and the run goes on with what they make of it."""
    groups = two(spaces)
    seen = []

    def guide(args):
        seen.append(args)
        return args["uncond"] + 0.5 * args["cond_scale"] * (args["cond"] - args["uncond"])

    plain = run(joint_chain(groups), levels=(2.0, 0.0))
    for member in groups[0].members:
        member.loaded.model = member.loaded.model.clone()
        member.loaded.model.set_model_sampler_cfg_function(guide)
    halved = run(joint_chain(groups), levels=(2.0, 0.0))
    (args,) = seen
    assert args["cond_scale"] == pytest.approx(2.0 - 0.5 + 1.5 + 0.7)
    c, u = args["cond_denoised"], args["uncond_denoised"]
    torch.testing.assert_close(plain, u + args["cond_scale"] * (c - u), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(halved, u + 0.5 * args["cond_scale"] * (c - u), rtol=1e-4, atol=1e-4)


def test_a_wrapper_around_the_sampler_may_change_the_references_noise(spaces, joint_chain, run, node, joint):
    groups = two(spaces, ((2.0, 1.0),), ((1.5, 1.0),))
    loaded = groups[0].members[0].loaded

    def doubled(executor, model, sigmas, extra_args, callback, noise, *rest):
        return executor(model, sigmas, extra_args, callback, 2 * noise, *rest)

    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(SEED))
    euler = comfy.samplers.sampler_object("euler")
    (guider,) = node("MCDM_Guider", experts=joint_chain(groups))
    expected = guider.sample(2 * noise, torch.zeros_like(noise), euler, torch.tensor(LEVELS), seed=joint.SEED)
    loaded.model = loaded.model.clone()
    loaded.model.add_wrapper(comfy.patcher_extension.WrappersMP.SAMPLER_SAMPLE, doubled)
    assert torch.equal(run(joint_chain(groups)), expected)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("reference", ["latents", "Qwen-Image"])
@pytest.mark.parametrize("as_model", [False, True])
def test_the_temperature_of_start_noise_is_that_of_every_space(spaces, joint_chain, node, reference, as_model):
    """What a sampler starts from, of all spaces; Qwen-Image's samples are videos of one frame."""
    groups = [spaces(reference, (32, 32), (2.0, 1.0)), spaces("pixels", (32, 32), (1.5, 1.0))]
    guider = _guider_of(groups, joint_chain, node, as_model)
    starts = []

    def no_sampler(model, x, sigmas, **given):
        starts.append(x.clone())
        return x

    latent = {"samples": torch.zeros(2, 4, 4, 4) if reference == "latents" else torch.zeros(1, 16, 1, 4, 4)}
    for temperature in (1.0, 0.5):
        (noise,) = node("MCDM_RandomNoise", noise_seed=3, temperature=temperature)
        levels, sampler = torch.tensor([0.9, 0.5, 0.0]), comfy.samplers.KSAMPLER(no_sampler)
        guider.sample(noise.generate_noise(latent), latent["samples"], sampler, levels, seed=3)
    whole, halved = starts
    assert whole.shape[-1] == latent["samples"][0].numel() + 3 * 32 * 32
    assert torch.equal(halved, 0.5 * whole)


def _guider_of(groups, joint_chain, node, as_model):
    """Product Guider, or core's guider of a Product as Model."""
    if not as_model:
        return node("MCDM_Guider", experts=joint_chain(groups))[0]
    first = groups[0].members[0].loaded
    given = {"reliability": 1.0, "experts": joint_chain(groups[1:]), "vae": groups[0].vae}
    return core_guider(first, 2.0, node("MCDM_ProductModel", model=first.model, **given)[0])


# The maps


def loaded(vae):
    """Let ComfyUI load a VAE, as a run does before its pictures are coded."""
    comfy.model_management.load_models_gpu([vae.patcher])


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    "name", ["pixels", "latents", "SD1.5", "SDXL", "Flux", "Flux 2", "Qwen-Image", "Chroma's pixels"]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_pictures_are_coded_as_by_comfyuis_own_functions(spaces, host, loads, name, batch):
    """Which would load the VAE at each call."""
    group = spaces(name, (64, 48), (1.0, 1.0))
    loaded(group.vae)
    loads.clear()
    coder = host.spaces.run_spaces.PictureCoder(group.vae, group.format)
    samples = torch.randn(batch, *group.shape, generator=torch.Generator().manual_seed(1))
    decoded = coder.decode(samples)
    assert not loads
    assert decoded.shape == (batch, 3, 64, 48)
    assert decoded.std() > 0.05
    torch.testing.assert_close(decoded, group.decode(samples), atol=rounded(1e-6, FUSED), rtol=0)
    loads.clear()
    encoded = coder.encode(decoded)
    assert not loads
    assert encoded.shape == samples.shape
    expected = group.encode(decoded)
    torch.testing.assert_close(encoded, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_a_vae_with_transparency_is_given_opaque_pictures(host, joint):
    vae = joint.tiny_video_vae(4)
    group = joint.Group(vae, (16, 4, 4), (32, 32), [joint.Member(joint.expert_in("Wan21", 1), 1.0)])
    loaded(vae)
    coder = host.spaces.run_spaces.PictureCoder(vae, group.format)
    samples = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(1))
    decoded = coder.decode(samples)
    torch.testing.assert_close(decoded, group.decode(samples)[:, :3], atol=rounded(1e-6, FUSED), rtol=0)
    expected = group.encode(decoded)
    torch.testing.assert_close(coder.encode(decoded), expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


# What is left behind


@contextmanager
def cancelled_in(vae, number):
    """Let the user cancel while a VAE encodes for the time of this number, counted from 0."""
    network, calls = vae.first_stage_model, Counter()
    encode = network.encode

    def asked(*args, **more):
        if calls["encode"] == number:
            comfy.model_management.interrupt_current_processing()
            comfy.model_management.throw_exception_if_processing_interrupted()
        calls["encode"] += 1
        return encode(*args, **more)

    network.encode = asked
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            yield
    finally:
        del network.encode


@contextmanager
def failing_in(model):
    """Let a MODEL fail when it is asked."""
    network = model.model.diffusion_model

    def fail(*args, **more):
        raise RuntimeError("failed in the middle")

    network.forward = fail
    try:
        with pytest.raises(RuntimeError, match="failed in the middle"):
            yield
    finally:
        del network.forward


def kept_of(groups):
    """All weights, and all else that a run could change of MODELs and VAEs."""
    networks = [m.loaded.model for group in groups for m in group.members]
    networks += [group.vae.patcher for group in groups]
    weights = [{name: value.clone() for name, value in each.model.state_dict().items()} for each in networks]
    return weights, state_of(*networks[:-2])


def assert_kept(before, after):
    for old, new in zip(before[0], after[0], strict=True):
        assert old.keys() == new.keys()
        assert all(torch.equal(old[name], new[name]) for name in old)
    assert before[1] == after[1]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("number", [0, 4])
def test_a_cancelled_and_a_failed_run_leave_nothing_behind(spaces, joint_chain, run, node, number):
    groups = two(spaces)
    (guider,) = node("MCDM_Guider", experts=joint_chain(groups))
    expected = run(guider=guider)
    attributes, before = set(vars(guider)), kept_of(groups)
    with cancelled_in(groups[0].vae, number):
        run(guider=guider)
    with failing_in(groups[1].members[1].loaded.model):
        run(guider=guider)
    assert set(vars(guider)) == attributes
    assert_kept(before, kept_of(groups))
    assert torch.equal(run(guider=guider), expected)


@pytest.mark.long
def test_50_runs_of_one_guider_are_the_same_and_leave_nothing(spaces, joint_chain, run, node):
    groups = two(spaces, ((2.0, 1.0),), ((1.5, 1.0),))
    (guider,) = node("MCDM_Guider", experts=joint_chain(groups))
    first, attributes, before = run(guider=guider), set(vars(guider)), kept_of(groups)
    for i in range(50):
        assert torch.equal(run(guider=guider, levels=(2.0, 0.0) if i % 2 else LEVELS), first) == (i % 2 == 0)
        if i == 9:
            living = Living.now()
    after = Living.now()
    assert (after.tensors, after.nbytes) == (living.tensors, living.nbytes)
    assert set(vars(guider)) == attributes
    assert_kept(before, kept_of(groups))


def test_a_seed_draws_every_space_and_leaves_the_global_one_alone(spaces, joint_chain, run, node):
    groups = two(spaces, ((2.0, 1.0),), ((1.5, 1.0),))
    experts = joint_chain(groups)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    found = run(experts)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(run(experts), found)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("space", ["SD15", "Flux2"])
def test_a_tiny_vae_takes_no_more_than_is_expected_of_it(pack, space):
    channels = getattr(comfy.latent_formats, space)().latent_channels
    network = joint.tiny_autoencoder(channels)
    picture = torch.rand(1, 3, 96, 64)
    with torch.inference_mode():
        for function, argument in ((network.encode, picture), (network.decode, network.encode(picture))):
            with Allocations() as counted:
                function(argument)
            expected = pack.nodes.host.spaces.run_spaces.MAPS_OF_TINY * picture[0, 0].nbytes
            assert expected / 2 < counted.peak <= expected


@pytest.mark.long
def test_dynamic_vram_gives_what_there_is_without(request, spaces, joint_chain, run, pack):
    def groups():
        return [spaces("SDXL", (32, 32), (2.0, 1.0)), spaces("Flux", (64, 64), (1.5, 1.0))]

    def fresh():
        made = groups()
        return run(joint_chain(made)), made

    classic, _ = fresh()
    vram = request.getfixturevalue("dynamic_vram")
    joint.tiny_vae.cache_clear()
    try:
        for share in (None, 0.5):
            made = groups()
            patchers = [m.loaded.model for g in made for m in g.members] + [g.vae.patcher for g in made]
            assert all(patcher.is_dynamic() for patcher in patchers)
            if share is not None:
                vram.budget = int(share * sum(patcher.model_size() for patcher in patchers))
            assert torch.equal(run(joint_chain(made)), classic)
            assert vram.used <= vram.budget
    finally:
        joint.tiny_vae.cache_clear()

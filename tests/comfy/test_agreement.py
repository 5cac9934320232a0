"""Agreement Weights: against brute force, to the bit where nothing is shared out, and to the row."""

import logging

import pytest
import torch

from .support.methods import PLAIN_PASSES, USUAL_AGREEMENT
from .support.posts import said_of_chain

AGREEMENT = 1e-4  # of the latent's scale
STEPS = 5
SIGMAS = (20.0, 8.0, 3.0, 1.0, 0.5, 0.1, 0.0)
COST = "Agreement weights: networks were asked {} rows of negatives (nulls) that the product alone would not need."


@pytest.fixture
def agreeing(node):
    """A chain whose weights are shared out."""
    return lambda experts, **policy: node("MCDM_AgreementWeights", experts=experts, **{**USUAL_AGREEMENT, **policy})[0]


@pytest.fixture
def fewer(node):
    """A chain that leaves nulls out."""
    usual = {**PLAIN_PASSES, "threshold": -1.0, "refresh": 3}
    return lambda experts, **policy: node("MCDM_Passes", experts=experts, **{**usual, **policy})[0]


@pytest.fixture(scope="module")
def models(pack):
    """MODELs for the product and their equals for brute force, which share nothing."""
    from .support.small_runs import equal_models

    return equal_models()


def sampled(guider, sampler_name="euler"):
    from .support.small_runs import sampled

    return sampled(guider, STEPS, sampler_name)


def masks():
    across = torch.linspace(-0.5, 1.0, 12).clamp(min=0).expand(8, 12)[None]
    return across, across.flip(2)


RUNS = [
    *(("eps v eps", kind, "euler", False) for kind in ("bare", "masks", "windows", "patch of 1")),
    *(("eps v eps", "bare", sampler, False) for sampler in ("heun", "dpmpp_2m", "euler_cfg_pp")),
    *((names, "bare", "euler", own) for names in ("v flow", "flow eps") for own in (False, True)),
    ("flow eps v", "masks", "euler", False),
    ("eps v eps", "masks", "euler", True),
]


@pytest.mark.one_of(10)
@pytest.mark.parametrize(("names", "kind", "sampler", "own_nulls"), RUNS)
def test_agrees_with_brute_force(node, models, agreeing, names, kind, sampler, own_nulls):
    from dataclasses import replace

    from .support.oracle.agreement import AgreementGuider
    from .support.oracle.variants import expert_of

    ours, theirs = ([expert_of(found[name], i) for i, name in enumerate(names.split())] for found in models)
    if kind == "masks":
        ours, theirs = (
            [*(replace(e, mask=mask) for e, mask in zip(chained, masks(), strict=False)), *chained[2:]]
            for chained in (ours, theirs)
        )
    elif kind == "windows":
        ours, theirs = ([chained[0], replace(chained[1], end=0.6), *chained[2:]] for chained in (ours, theirs))
    window = {"start": 0.1, "end": 0.8} if kind == "windows" else {}
    patch = 1 if kind == "patch of 1" else 3
    experts = ()
    for expert in ours:
        (experts,) = node("MCDM_Expert", experts=experts, **vars(expert))
    guided = "MCDM_OwnNullGuider" if own_nulls else "MCDM_Guider"
    (plain,), (guider,) = (
        node(guided, experts=chained) for chained in (experts, agreeing(experts, patch=patch, **window))
    )
    oracle = AgreementGuider(theirs, 20.0, patch, tuple(window.values()) or (0.0, 1.0), own_nulls)
    found = sampled(guider, sampler)
    expected = sampled(oracle, sampler)
    assert expected.isfinite().all()
    assert float((found - expected).abs().max() / expected.std()) <= AGREEMENT
    assert float((found - sampled(plain, sampler)).abs().max() / expected.std()) > 10 * AGREEMENT


def test_u_is_asked_where_the_weights_sum_to_1_and_counted(load, chain, agreeing, guide, passes, caplog):
    halves = [(passes.watch(load(name)), {"weight": 0.5}) for name in ("hair", "skin")]
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        guide(agreeing(chain(*halves), sigma_start=8.0, sigma_end=0.5), sigmas=SIGMAS)
    per_step = [sorted(call.roles) for call in passes.found[::2]]
    assert per_step == [[0], [0, 1], [0, 1], [0, 1], [0], [0]]
    assert COST.format(3 * 2) in caplog.messages


def test_nothing_more_is_asked_where_u_is_asked_anyway(load, chain, agreeing, guide, caplog, passes):
    experts = chain(passes.watch(load("hair")), passes.watch(load("skin")))
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        guide(agreeing(experts), sigmas=SIGMAS)
    assert sum(call.rows for call in passes.found) == 6 * 4
    assert not any(message.startswith("Agreement") for message in caplog.messages)


def test_fewer_passes_leaves_the_nulls_out_that_agreement_asks(load, chain, agreeing, fewer, guide, passes, caplog):
    halves = chain(*((passes.watch(load(name)), {"weight": 0.5}) for name in ("hair", "skin")))
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        found = guide(fewer(agreeing(halves)), sigmas=SIGMAS)
    assert sum(call.rows for call in passes.found) == 2 * 4 + 4 * 2
    said = [message for message in caplog.messages if message.startswith(("Agreement", "Fewer"))]
    assert said[0] == COST.format(2 * 2)
    assert said[1].startswith("Fewer passes: networks were asked 16 rows in place of 24")
    assert torch.equal(guide(agreeing(fewer(halves)), sigmas=SIGMAS), found)  # in either order


def test_outside_a_guidance_interval_weights_stay(load, chain, agreeing, fewer, guide, passes):
    experts = chain(passes.watch(load("hair")), (passes.watch(load("skin")), {"weight": 4.5}))
    interval = {"sigma_end": 90000.0, "refresh": 1}
    found = guide(agreeing(fewer(experts, **interval)), sigmas=SIGMAS)
    assert all(role == 0 for call in passes.found for role in call.roles)
    assert torch.equal(guide(fewer(experts, **interval), sigmas=SIGMAS), found)


def test_choosing_asks_every_expert_by_itself(load, chain, agreeing, node):
    experts = chain(load("hair"), load("skin"))
    samples = {"samples": torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))}
    chosen, plain = (
        node("MCDM_Choose", experts=of, samples=samples, count=2, levels=2, seed=0)
        for of in (agreeing(experts), experts)
    )
    assert torch.equal(chosen[0]["samples"], plain[0]["samples"])
    assert chosen[1] == plain[1]


def test_frames_of_videos_have_weights_of_their_own(node, chain, agreeing):
    import comfy.samplers

    from .support.spaces import expert_in

    experts = agreeing(chain(expert_in("Wan21", 1), expert_in("Wan21", 2)), tau=200.0)
    noise = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    (guider,) = node("MCDM_Guider", experts=experts)
    seen = []
    guider.observer = seen.append
    sampler = comfy.samplers.sampler_object("euler")
    guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([0.9, 0.5, 0.0]))
    first, second = seen[-1].plan.weights
    assert first.shape == (1, 1, 3, 8, 8)
    torch.testing.assert_close(first + second, torch.full_like(first, 3.0))
    assert (first[:, :, 0] - first[:, :, 1]).abs().max() > 1e-3


def test_inspect_shows_the_maps(load, chain, agreeing, node, host):
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    plain, vae = chain(load("hair"), load("skin"), (load("linear"), {"weight": -0.5})), load("hair").vae
    experts = agreeing(plain, sigma_end=0.7)
    given = {"noise": custom.Noise_RandomNoise(3), "sampler": comfy.samplers.sampler_object("euler")}
    given |= {"sigmas": torch.tensor(SIGMAS), "latent_image": {"samples": torch.zeros(2, 3, 32, 32)}}
    (guider,) = node("MCDM_Guider", experts=experts)
    expected, _ = custom.SamplerCustomAdvanced().sample(guider=guider, **given)
    latent, grid, _ = node("MCDM_Inspect", experts=experts, vae=vae, steps_shown="1, 4, 6", **given)
    plain_grid = node("MCDM_Inspect", experts=plain, vae=vae, steps_shown="1, 4, 6", **given)[1]
    assert torch.equal(latent["samples"], expected["samples"])
    row = (plain_grid.shape[1] - 256 // 3) // 5  # three experts, U and the product
    assert grid.shape[1] == plain_grid.shape[1] + 2 * row

    samples = {"samples": torch.zeros(2, 3, 32, 32)}
    _, recording = host.pictures.recording.sample_recorded(
        experts, given["noise"], given["sampler"], given["sigmas"], samples, "1, 4, 6"
    )
    first, fourth, last = recording.shown()
    assert sorted(first.shares) == sorted(fourth.shares) == [0, 1]
    assert last.shares == {}
    torch.testing.assert_close(fourth.shares[0] + fourth.shares[1], torch.ones(2, 1, 32, 32))
    # The map is drawn as it is: one value of the latent is 8 × 8 of the tile.
    step = 256 + 8
    top, left = 256 // 3 + 5 * row, 8 + 2 * step
    tile = grid[:, top : top + 256, left : left + 256]
    torch.testing.assert_close(tile[:, 4::8, 4::8, 0], fourth.shares[0][:, 0], atol=1 / 255, rtol=0)


LONE, TRUSTED, DOUBTED = {"null": None}, {}, {"reliability": 0.0}


def shared(**policy):
    return "MCDM_AgreementWeights", {**USUAL_AGREEMENT, **policy}


@pytest.mark.parametrize(
    ("experts", "nodes", "said"),
    [
        ([TRUSTED, LONE], [], None),
        ([TRUSTED, LONE], [shared()], "Expert 2 needs a negative, because agreement weights compare"),
        ([TRUSTED, LONE], [shared(start=0.5)], "Expert 2 needs a negative, because agreement weights compare"),
        ([TRUSTED, LONE], [shared(sigma_end=0.5)], None),
        ([TRUSTED, LONE], [shared(tau=0.0)], None),
        ([TRUSTED, LONE], [shared(), shared(tau=0.0)], None),
        ([TRUSTED, LONE], [shared(tau=-1.0)], None),  # which the node itself says
        ([TRUSTED, {**LONE, "reliability": 0.0}], [shared()], None),
        ([DOUBTED, DOUBTED], [shared()], "reliabilities with a positive sum"),
        ([TRUSTED, LONE], [shared(), ("MCDM_Passes", {**PLAIN_PASSES, "end": 0.5})], None),  # may not meet
        ([TRUSTED, TRUSTED], [shared()], None),
    ],
)
def test_what_can_be_known_of_a_chain_is_said_when_it_is_queued(host, experts, nodes, said):
    found = said_of_chain(host, [*(("MCDM_Expert", {"weight": 0.5, **inputs}) for inputs in experts), *nodes])
    assert found is None if said is None else said in found

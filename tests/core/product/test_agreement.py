"""Agreement weights: against plain loops and closed forms, to the bit where nothing is shared out, and to the row."""

import logging
import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from mcdm_core import (
    EQ10,
    OWN_NULL,
    Agreement,
    OwnNullDenoiser,
    Passes,
    ProductDenoiser,
    Schedule,
    Term,
    combined_epsilon,
    own_null_epsilon,
    sample_ddim,
    sample_langevin,
    sample_particles,
    sample_product,
    sigmas_for,
)
from mcdm_core.diffusion.schedule import sigma_at_progress
from mcdm_core.expert.gaussian import gaussian_expert, label, ode_moments
from mcdm_core.product.agreement import agreement_weights, smoothed_cosine

from ...support import gaussians
from ...support.agreement import shared_out, smoothed
from ...support.fewer_passes import Remembering, sample_heun
from ...support.gaussians import NULL, rows

CHANNELS, HEIGHT, WIDTH = 3, 4, 5
STEPS = "8"
TAU = 20.0
chain = partial(gaussians.chain, channels=CHANNELS)


def start(batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, CHANNELS, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def sampled(terms, sampler=sample_ddim, rule=EQ10, batch=2, passes=None, **policy):
    options = {"eta": 1.0} if sampler is sample_ddim else {}
    options |= {"sampler": sampler, "rule": rule, "generator": torch.Generator().manual_seed(2)}
    settings = [passes or Passes(), Agreement(**policy)]
    return sample_product(terms, start(batch), STEPS, settings=settings, **options)


MASKS = (
    torch.linspace(-0.5, 1.0, WIDTH, dtype=torch.float64).clamp(min=0).expand(HEIGHT, WIDTH),
    torch.linspace(1.0, -0.5, HEIGHT, dtype=torch.float64).clamp(min=0)[:, None].expand(HEIGHT, WIDTH),
    None,
)


class BruteForce:
    """Every expert under its condition and its null in every call, the weights by loops, and the rule by hand."""

    def __init__(self, terms, rule, window=(0.0, 1.0), tau=TAU, patch=3, remembered=None):
        self.terms, self.rule, self.tau, self.patch = terms, rule, tau, patch
        schedule = terms[0].expert.schedule
        self.levels = sigmas_for(schedule, STEPS)
        low = 0.0 if window[1] == 1 else sigma_at_progress(schedule, window[1])
        self.window = sigma_at_progress(schedule, window[0]) * (1 + 1e-9), low
        self.memory = Remembering(self.levels, **(remembered or {}))

    def __call__(self, x, sigma):
        terms = self.terms
        ones = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.float64)
        masks = [ones if t.mask is None else t.mask[None, None] for t in terms]
        weights = [t.weight * mask for t, mask in zip(terms, masks, strict=True)]
        covered = sum(t.reliability * mask for t, mask in zip(terms, masks, strict=True))
        shares = [t.reliability * mask / covered for t, mask in zip(terms, masks, strict=True)]
        cond = {i: t.expert.predict_x0(x, sigma, t.condition) for i, t in enumerate(terms)}
        null = {j: terms[j].expert.predict_x0(x, sigma, label(NULL)) for j in (0, 1)}

        def mean(nulls, conditions):
            return sum(a * nulls[j] for a, j in zip(shares, (0, 1, 0), strict=True))

        cond, null = self.memory.call(sigma, sigma, cond, null, {0: 0, 1: 1, 2: 0}, mean)
        eps, u = {i: (x - found) / sigma for i, found in cond.items()}, (x - mean(null, cond)) / sigma
        if self.window[0] >= sigma > self.window[1]:
            weights = shared_out(weights, eps, u, self.tau, self.patch)
        base = [u] * 3 if self.rule is EQ10 else [(x - null[j]) / sigma for j in (0, 1, 0)]
        return x - sigma * (u + sum(w * (eps[i] - base[i]) for i, w in enumerate(weights)))


CASES = {
    "bare": {},
    "weights that sum to 1": {"weights": (0.7, 0.3, 0.0)},
    "masks": {"masks": MASKS},
    "flow": {"predictions": ("eps", "flow")},
    "x0": {"predictions": ("x0", "eps")},
}


@pytest.mark.one_of(5)
@pytest.mark.parametrize("rule", [EQ10, OWN_NULL], ids=["common null", "own nulls"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("patch", "window"), [(1, (0.0, 1.0)), (3, (0.2, 0.8)), (9, (0.0, 0.6))])
def test_agrees_with_plain_loops(case, patch, window, rule):
    settings = {**CASES[case]}
    terms = chain(*settings.pop("predictions", ()), **settings)
    policy = {"tau": TAU, "patch": patch, "start": window[0], "end": window[1]}
    oracle = BruteForce(terms, rule, window, patch=patch)
    begin = start() * math.hypot(1.0, oracle.levels[0])
    expected = sample_ddim(oracle, begin, oracle.levels, eta=1.0, generator=torch.Generator().manual_seed(2))
    found = sampled(terms, rule=rule, **policy)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert (found - sampled(terms, rule=rule)).abs().max() > 1e-3  # the method has a say


@pytest.mark.parametrize("rule", [EQ10, OWN_NULL])
def test_stand_ins_of_fewer_passes_are_compared_as_what_they_stand_for(rule):
    terms, remembered = chain(), {"threshold": 0.3, "tolerance": 0.8, "refresh": 3}
    oracle = BruteForce(terms, rule, remembered=remembered)
    begin = start() * math.hypot(1.0, oracle.levels[0])
    expected = sample_heun(oracle, begin, oracle.levels)
    for term in terms:
        term.expert.network.batches.clear()
    found = sampled(terms, sample_heun, rule, passes=Passes(**remembered), tau=TAU, patch=3)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert rows(terms) == 2 * sum(oracle.memory.asked) < 2 * 5 * 15


SAME = {
    "no tau": {"tau": 0.0, "patch": 9},
    "one expert of positive weight": {"weights": (2.0, -0.3, -0.4)},
    "a window that ends before the run begins": {"sigma_start": 1e-9},
    "a mask that leaves one expert": {"masks": (None, torch.zeros(HEIGHT, WIDTH, dtype=torch.float64), None)},
}


@pytest.mark.parametrize("rule", [EQ10, OWN_NULL])
@pytest.mark.parametrize("case", SAME)
def test_where_nothing_is_shared_out_it_is_the_plain_product_to_the_bit(case, rule):
    settings = {"tau": TAU, **SAME[case]}
    given = {name: settings.pop(name) for name in ("weights", "masks") if name in settings}
    plain, terms = chain(**given), chain(**given)
    assert torch.equal(sampled(terms, rule=rule, **settings), sampled(plain, rule=rule))
    assert rows(terms) == rows(plain)


@pytest.mark.parametrize("prediction", ["v", "x0", "flow"])
def test_every_parameterization_gives_the_same(prediction):
    expected = sampled(chain("eps", "eps"), tau=TAU)
    torch.testing.assert_close(sampled(chain("eps", prediction), tau=TAU), expected, rtol=1e-6, atol=1e-6)


def test_experts_can_be_chained_in_any_order():
    terms = chain("eps", "eps")
    found = sampled(terms, tau=TAU)
    torch.testing.assert_close(sampled([terms[2], terms[1], terms[0]], tau=TAU), found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("passes", [None, Passes(threshold=-1.0, refresh=2)])
def test_u_is_asked_where_the_weights_sum_to_1_and_counted(caplog, passes):
    """Eight steps, of which the window holds those between the noise levels; in Fewer Passes every second is full."""
    levels = sigmas_for(chain()[0].expert.schedule, STEPS)
    window = {"sigma_start": levels[2] * 1.01, "sigma_end": levels[6] * 1.01}  # steps 3 to 6
    terms, plain = (chain(weights=(0.7, 0.3, 0.0)) for _ in range(2))
    with caplog.at_level(logging.INFO):
        sampled(terms, batch=2, tau=TAU, passes=passes, **window)
    sampled(plain, batch=2)
    more = 2 * 2 * (4 if passes is None else 2)
    assert rows(plain) == 2 * 2 * 8
    assert rows(terms) - rows(plain) == more
    assert caplog.messages[0] == (
        f"Agreement weights: networks were asked {more} rows of negatives (nulls) that the product alone would not "
        "need."
    )


def test_rows_of_fewer_passes_are_beside_those_of_the_same_agreement(caplog):
    with caplog.at_level(logging.INFO):
        sampled(chain(weights=(0.7, 0.3, 0.0)), batch=1, tau=TAU, passes=Passes(threshold=-1.0, refresh=2))
    assert caplog.messages[1].startswith("Fewer passes: networks were asked 24 rows in place of 32; 8 were saved")


def test_nothing_is_logged_where_nothing_more_is_asked(caplog):
    with caplog.at_level(logging.INFO):
        sampled(chain(), tau=TAU)
    assert caplog.messages == []


def test_outside_a_guidance_interval_weights_stay_and_no_null_is_asked():
    terms, plain = chain(), chain()
    interval = Passes(sigma_end=1e9)
    assert torch.equal(sampled(terms, passes=interval, tau=TAU), sampled(plain, passes=interval))
    assert rows(terms) == rows(plain) == 2 * 2 * 8


def test_a_weight_curve_changes_what_is_shared_out():
    curve = {"weight_curve": ((0.0, 0.5),)}
    halved = sampled(chain(weights=(1.0, 0.75, -0.2)), tau=TAU)
    torch.testing.assert_close(sampled(chain(**curve), tau=TAU), halved)


# Closed forms


def test_signs_of_one_value_share_by_two_exponentials():
    """In a patch of one value the cosine is the product of two signs, and ε of N(μ, s) is σ (x − μ)/(s + σ²)."""
    means = [[1.0], [-1.0], [0.2]]
    expert = gaussian_expert(means, [[0.5], [0.7], [0.9]], Schedule.linear())
    weights, tau, sigma, x = (3.0, 2.0), 0.6, 0.8, 0.5
    terms = [Term(expert, label(k), label(2), weight=w) for k, w in enumerate(weights)]
    denoiser = ProductDenoiser(terms, settings=[Agreement(tau=tau, patch=1)])
    found = denoiser(torch.full((1, 1, 1, 1), x, dtype=torch.float64), sigma).item()
    # x lies below the first mean and above the second and the null's, so that the cosines are −1 and 1.
    parts = weights[0] * math.exp(tau), weights[1] * math.exp(-tau)
    shares = [sum(weights) * part / sum(parts) for part in parts]
    eps = [sigma * (x - m[0]) / (s + sigma**2) for m, s in zip(means, (0.5, 0.7, 0.9), strict=True)]
    expected = x - sigma * (eps[2] + sum(w * (e - eps[2]) for w, e in zip(shares, eps, strict=False)))
    assert found == pytest.approx(expected, rel=1e-6)


def test_an_expert_that_leaves_u_takes_the_weight_of_one_that_does_not():
    """The second expert is U, so that a large τ leaves Gaussians with the first's weight 2, whose ODE is known."""
    channels = 8
    generator = torch.Generator().manual_seed(3)
    means = 1.5 * torch.randn(2, channels, generator=generator, dtype=torch.float64)
    variances = torch.tensor([0.5, 1.2], dtype=torch.float64)[:, None].expand(2, channels)
    expert = gaussian_expert(means.tolist(), variances.tolist())
    terms = [Term(expert, label(0), label(1), weight=0.5), Term(expert, label(1), label(1), weight=1.5)]
    levels = [*torch.logspace(4, -3, 700, dtype=torch.float64).tolist(), 0.0]
    noise = torch.randn(1, channels, 1, 400, generator=generator, dtype=torch.float64)

    def reached(coefficient):
        coefficients = [coefficient, 1 - coefficient]
        of = [ode_moments(m.tolist(), s.tolist(), coefficients) for m, s in zip(means.T, variances.T, strict=True)]
        mean, std = (torch.tensor([getattr(m, name) for m in of])[:, None, None] for name in ("mean", "std"))
        return mean + std * noise

    plain, shared = (
        sample_ddim(ProductDenoiser(terms, settings=[Agreement(tau=tau, patch=1)]), levels[0] * noise, levels)
        for tau in (0.0, 1e4)
    )
    assert (plain - reached(0.5)).abs().mean() < 0.01
    assert (shared - reached(2.0)).abs().mean() < 0.02 < 0.5 < (plain - reached(2.0)).abs().mean()


def test_large_tau_gives_each_place_to_the_expert_that_leaves_u_there():
    generator = torch.Generator().manual_seed(5)
    u = torch.randn(1, 4, 6, 8, generator=generator)
    change = torch.randn(1, 4, 6, 8, generator=generator)
    left = (torch.arange(8) < 4).float()
    first, second = u + left * change, u + (1 - left) * change
    one, two = agreement_weights([2.0, 1.0], [first, second], u, 1e4, 1)
    torch.testing.assert_close(one, (3 * left).expand(1, 1, 6, 8))
    torch.testing.assert_close(two, (3 * (1 - left)).expand(1, 1, 6, 8))


def test_equal_predictions_keep_their_weights_and_the_sum_is_kept_everywhere():
    u, first, second = torch.randn(3, 2, 4, 6, 8, generator=torch.Generator().manual_seed(6))
    same = agreement_weights([2.0, 1.0], [first, first], u, 300.0, 3)
    torch.testing.assert_close(same, [torch.full((2, 1, 6, 8), w) for w in (2.0, 1.0)])
    for tau in (0.5, 300.0, 1e4):
        found = agreement_weights([2.0, 1.0], [first, second], u, tau, 3)
        torch.testing.assert_close(sum(found), torch.full((2, 1, 6, 8), 3.0))
        assert all((w >= 0).all() for w in found)


@pytest.mark.parametrize("patch", [1, 3, 5, 255])
def test_smoothed_cosines_are_those_of_the_loops(patch):
    first, second = torch.randn(2, 2, 3, 5, 7, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    first[0, :, :3, :3] = 0.0  # a patch with nothing in it
    found = smoothed_cosine(first, second, patch)
    for picture in range(2):
        for (row, column), cosine in smoothed(first[picture], second[picture], patch).items():
            assert found[picture, 0, row, column].item() == pytest.approx(cosine, abs=1e-12)


def test_frames_of_a_video_have_patches_of_their_own():
    first, second = torch.randn(2, 1, 4, 3, 6, 8, generator=torch.Generator().manual_seed(8))
    frames = [smoothed_cosine(first[:, :, t], second[:, :, t], 3) for t in range(3)]
    torch.testing.assert_close(smoothed_cosine(first, second, 3), torch.stack(frames, dim=2))
    flat = smoothed_cosine(first[:, :, 0, 0], second[:, :, 0, 0], 3)
    torch.testing.assert_close(flat, smoothed_cosine(first[:, :, 0, :1], second[:, :, 0, :1], 3)[:, :, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_single(dtype):
    first, second = (100 * torch.randn(2, 1, 4, 6, 8, generator=torch.Generator().manual_seed(9))).to(dtype)
    found = smoothed_cosine(first, second, 5)
    torch.testing.assert_close(found, smoothed_cosine(first.float(), second.float(), 5))
    assert agreement_weights([1.0, 1.0], [first, second], first, 300.0, 5)[0].dtype == dtype


# State, other samplers, refusals


def test_nothing_of_a_run_survives_it():
    terms = chain()
    denoiser = ProductDenoiser(terms, settings=[Passes(threshold=0.3, refresh=2), Agreement(tau=TAU)])
    levels = sigmas_for(terms[0].expert.schedule, STEPS)
    begin = start() * levels[0]

    def run():
        with denoiser.running(levels):
            return sample_ddim(denoiser, begin, levels)

    first, attributes = run(), {**vars(denoiser), "_rows": None}
    assert all(torch.equal(run(), first) for _ in range(50))
    assert {**vars(denoiser), "_rows": None} == attributes


def test_langevin_corrections_take_the_shared_weights():
    found = sampled(chain(), sample_langevin, tau=TAU)
    assert found.isfinite().all()
    assert (found - sampled(chain(), sample_langevin)).abs().max() > 1e-3


def test_particles_are_refused_before_any_network_is_called():
    terms = chain()
    with pytest.raises(ValueError, match="Expected fixed weights for this sampler") as error:
        sampled(terms, sample_particles, tau=TAU)
    assert str(error.value).endswith(".")
    assert rows(terms) == 0
    assert torch.equal(sampled(terms, sample_particles, tau=0.0), sampled(chain(), sample_particles))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"tau": -1.0}, "Expected a tau of 0 to 10000 for agreement weights and got -1.0"),
        ({"tau": math.nan}, "Expected a tau of 0 to 10000"),
        ({"tau": math.inf}, "Expected a tau of 0 to 10000"),
        ({"patch": 0}, "Expected an odd side of the patch, 1 to 255"),
        ({"patch": 4}, "Expected an odd side of the patch"),
        ({"patch": 257}, "Expected an odd side of the patch"),
        ({"start": 0.6, "end": 0.4}, "start below end for agreement weights and got 0.6 and 0.4"),
        ({"sigma_start": 1.0, "sigma_end": 2.0}, "sigma_start above sigma_end for agreement weights"),
    ],
)
def test_refusals(policy, message):
    with pytest.raises(ValueError, match=message) as error:
        Agreement(**policy)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("reliabilities", "nulls", "rule", "message"),
    [
        ((1.0, 1.0), (True, False), EQ10, "Expert 2 needs a negative, because agreement weights compare"),
        ((0.0, 0.0), (True, True), EQ10, "reliabilities with a positive sum"),
        ((0.5, 0.5), (True, False), OWN_NULL, "Expert 2 needs a negative, because agreement weights compare"),
    ],
)
def test_what_u_lacks_is_refused_before_any_network_is_called(reliabilities, nulls, rule, message):
    """Without agreement none of these needs a null."""
    settings = zip(chain(weights=(0.5, 0.5, 0.0))[:2], reliabilities, nulls, strict=True)
    terms = [replace(t, reliability=a, null=t.null if has else None) for t, a, has in settings]
    if sum(reliabilities):
        sampled(terms, rule=rule)
    for term in terms:
        term.expert.network.batches.clear()
    with pytest.raises(ValueError, match=message):
        sampled(terms, rule=rule, tau=TAU)
    assert rows(terms) == 0


def test_own_nulls_of_weights_that_equal_their_reliabilities_are_asked():
    """The plain rule leaves both nulls out, since they cancel; shared out, they count."""
    terms = [replace(t, reliability=0.5) for t in chain(weights=(0.5, 0.5, 0.0))[:2]]
    denoiser, x, sigma = OwnNullDenoiser(terms, settings=[Agreement(tau=TAU, patch=3)]), start(), 1.3
    found = denoiser(x, sigma)
    cond, null = ([t.expert.predict_x0(x, sigma, of) for t in terms] for of in (label(0), label(NULL)))
    cond[1] = terms[1].expert.predict_x0(x, sigma, label(1))
    u = (null[0] + null[1]) / 2
    weights = shared_out([0.5, 0.5], [x - d for d in cond], x - u, TAU, 3)
    torch.testing.assert_close(found, own_null_epsilon(cond, null, weights, [0.5, 0.5]))
    assert (found - combined_epsilon(cond, null, weights, [0.5, 0.5])).abs().max() > 1e-3

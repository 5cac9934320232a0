"""Logic of experts against Gaussian densities, whose unions, intersections and differences are known by quadrature."""

import functools
import math
import weakref
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcdm_core import Logic, Passes, ProductDenoiser, Term, sample_ddpm, sample_logic
from mcdm_core.product.methods.lift_scores import LiftScores
from mcdm_core.product.plans.combination import Combination, Moment
from mcdm_core.product.plans.separate import plan_separately
from mcdm_core.product.rules.eq10 import EQ10
from mcdm_core.product.rules.own_null import OWN_NULL
from mcdm_core.sampling.densities import TrackedDensities
from studies.gaussian import gaussian_expert, label

from ...support.gaussians import recorded, samples
from ...support.logic import PlainLogic, sample_plain_logic

COUNT = 20_000
AXIS = torch.linspace(-12, 12, 24_001, dtype=torch.float64)


def spaced(count: int) -> list[float]:
    return [*(100.0 * 2e-4 ** (i / (count - 1)) for i in range(count)), 0.0]


def noise(count: int, size: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 1, size, size, dtype=torch.float64, generator=generator) * 100


def denoiser(means, variances, weights=None, **settings) -> ProductDenoiser:
    """One expert for each Gaussian, asked for its condition alone."""
    expert = gaussian_expert(means, variances)
    weights = weights or [1.0] * len(means)
    return ProductDenoiser([Term(expert, label(k), weight=w) for k, w in enumerate(weights)], **settings)


@functools.cache
def sampled(means, variances, weights, logic, steps=400) -> Tensor:
    experts, generator = denoiser(means, variances, weights), torch.Generator().manual_seed(3)
    return sample_logic(experts, noise(COUNT), spaced(steps), generator=generator, logic=logic).flatten()


def log_density(x: Tensor, mean: float, variance: float) -> Tensor:
    return -((x - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)


def moments_of(log_values: Tensor) -> tuple[float, float]:
    """Mean and variance of the density of these values on the axis, up to a factor."""
    values = log_values.exp() / log_values.exp().sum()
    mean = (values * AXIS).sum()
    return mean.item(), (values * (AXIS - mean) ** 2).sum().item()


def assert_moments(found: Tensor, mean: float, variance: float) -> None:
    """Within three standard errors, or .01."""
    errors = (math.sqrt(variance / len(found)), variance * math.sqrt(2 / len(found)))
    assert found.mean().item() == pytest.approx(mean, abs=max(0.01, 3 * errors[0]))
    assert found.var().item() == pytest.approx(variance, abs=max(0.01, 3 * errors[1]))


@pytest.mark.long
def test_and_misses_the_harmonic_mean_as_the_limit_of_ancestral_steps_does():
    p, q = (log_density(AXIS, mean, variance) for mean, variance in ((-1.0, 0.5), (1.0, 1.5)))
    assert moments_of(p + q - torch.logaddexp(p, q)) == pytest.approx((-0.475, 0.539), abs=5e-4)
    assert_moments(sampled((-1.0, 1.0), (0.5, 1.5), (1.0, 1.0), Logic(operation="and"), steps=800), -0.315, 0.449)


def test_or_is_the_mixture():
    found = sampled((-2.0, 2.0), (0.2, 0.5), (1.0, 1.0), Logic(operation="or"))
    left, right = found[found < 0], found[found > 0]
    assert len(left) / COUNT == pytest.approx(0.5, abs=3 * 0.5 / math.sqrt(COUNT))
    assert_moments(left, -2.0, 0.2)
    assert_moments(right, 2.0, 0.5)


def test_not_takes_a_density_away():
    logic = Logic(priors=(1.0, 0.2), largest=20.0)
    p, q = log_density(AXIS, 0.0, 2.0), log_density(AXIS, 1.0, 0.2) + math.log(0.2)
    target = moments_of(p + torch.log1p(-(q - p).exp()))
    assert target == pytest.approx((-0.25, 2.1375), abs=1e-4)
    assert_moments(sampled((0.0, 1.0), (2.0, 0.2), (1.0, -1.0), logic), *target)


def test_an_expert_is_excluded_where_its_curve_makes_its_weight_negative():
    found = []
    for weight, curve in ((-1.0, ()), (1.0, ((0.0, -1.0), (1.0, -1.0)))):
        expert = gaussian_expert((0.0, 1.0), (2.0, 0.2))
        terms = [Term(expert, label(0)), Term(expert, label(1), weight=weight, weight_curve=curve)]
        options = {"generator": torch.Generator().manual_seed(3), "logic": Logic(excluded=0.2)}
        found.append(sample_logic(ProductDenoiser(terms), noise(5), spaced(30), **options))
    experts, options["logic"] = denoiser((0.0, 1.0), (2.0, 0.2), (1.0, -1.0)), Logic(priors=(1.0, 0.2))
    options["generator"].manual_seed(3)
    found.append(sample_logic(experts, noise(5), spaced(30), **options))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def at_own_weights(means, variances, null, weights):
    """From x and σ to the x0 of experts, a mean and a variance for each channel, guided away from one null."""

    def posterior(mean, variance, x: Tensor, sigma: float) -> Tensor:
        m, s = (torch.tensor(of, dtype=torch.float64).reshape(-1, 1, 1) for of in (mean, variance))
        return m + s / (s + sigma**2) * (x - m)

    def asked(x: Tensor, sigma: float) -> list[Tensor]:
        u = posterior(*null, x, sigma)
        of = zip(means, variances, weights, strict=True)
        return [u + abs(w) * (posterior(mean, variance, x, sigma) - u) for mean, variance, w in of]

    return asked


def test_brute_force():
    """A whole run in plain numbers: two united, one excluded, nulls and weights."""
    means, variances, null = (-1.0, 1.5, 0.4), (0.3, 0.8, 0.5), (0.2, 2.0)
    weights, priors, largest, sharpness = (1.5, 1.0, -0.7), (2.0, 1.0, 0.2), 0.3, 0.7
    sigmas, x = [3.0, 1.2, 0.7, 0.4, 0.0], samples(2.0, -3.0, 6.0, 1.0)
    expert = gaussian_expert([*means, null[0]], [*variances, null[1]])
    terms = [Term(expert, label(k), label(3), weight=w) for k, w in enumerate(weights)]
    logic = Logic(sharpness=sharpness, priors=priors, largest=largest)
    generator = torch.Generator().manual_seed(4)
    found = sample_logic(ProductDenoiser(terms), x, sigmas, generator=generator, logic=logic)

    generator.manual_seed(4)
    plain = PlainLogic("and", sharpness, priors, largest, weights)
    asked = at_own_weights(means, variances, null, weights)
    expected = sample_plain_logic(x, sigmas, asked, plain, generator)
    assert plain.reached == {True, False}
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("operation", ["and", "or"])
def test_what_an_area_leaves_out_counts_no_more_than_what_experts_agree_on(operation):
    """A second channel, of which experts say the same in one run and in the other what doesn't count."""
    logic = Logic(operation=operation, largest=0.5)
    x, found = torch.cat([noise(6), noise(6).flip(0)], 1), []
    for other, area in ((0.0, None), (5.0, torch.tensor([1.0, 0.0], dtype=torch.float64)[:, None, None])):
        means, variances = [(-1.0, -other), (1.0, other), (0.5, other)], [(0.5, 1.0), (1.5, 1.0), (0.8, 1.0)]
        experts = denoiser(means, variances, (1.0, 1.0, -1.0))
        given = {"generator": torch.Generator().manual_seed(2), "area": area, "logic": logic}
        found.append(sample_logic(experts, x, spaced(12), **given)[:, 0])
    torch.testing.assert_close(*found)


def given_logs() -> dict[int, Tensor]:
    rows = [[0.3, -1.0, 2.0, 0.0], [0.1, 4.0, -3.0, 0.5], [-2.0, 0.0, 1.0, 9.0]]
    return {i: torch.tensor(row, dtype=torch.float64, requires_grad=True) for i, row in enumerate(rows)}


@pytest.mark.parametrize("operation", ["and", "or"])
@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_what_experts_count_is_the_derivative_of_the_log_density(operation, sharpness):
    logs, logic = given_logs(), Logic(operation=operation, sharpness=sharpness, priors=(2.0, 1.0, 0.4), largest=0.8)
    found = logic.combine(logs, {0: 1.5, 1: 0.2, 2: -1.0})
    e = logic.exponent
    log_q = (2 / 3 * (e * logs[0]).exp() + 1 / 3 * (e * logs[1]).exp()).log() / e
    excluded = math.log(0.4) + logs[2]
    difference = log_q + torch.log1p(-(excluded - log_q).exp())
    continued = 1.8 * log_q - 0.8 * excluded
    reached = (excluded - log_q).exp() >= 0.8 / 1.8
    torch.where(reached, continued, difference).sum().backward()
    assert reached.tolist().count(True) in (1, 2, 3)
    for i, weights in found.items():
        torch.testing.assert_close(weights, logs[i].grad)
    torch.testing.assert_close(sum(found.values()), torch.ones(4, dtype=torch.float64))


def test_sharp_logic_follows_the_least_or_the_most_likely():
    logs = {i: log.detach() for i, log in given_logs().items()}
    stacked = torch.stack([*logs.values()])
    for operation, chosen in (("and", stacked.argmin(0)), ("or", stacked.argmax(0))):
        found = Logic(operation=operation, sharpness=200.0).combine(logs, dict.fromkeys(range(3), 1.0))
        assert torch.equal(torch.stack([*found.values()]).argmax(0), chosen)
        assert torch.stack([*found.values()]).amax(0).min() > 0.999


@pytest.mark.parametrize("rule", ["eq10", "own null"])
def test_an_expert_alone_is_guided_at_its_own_weight(rule):
    """Away from U of Eq. 10, (3 N_1 + N_2)/4 here, or from its own null."""
    expert = gaussian_expert([-1.0, 1.5, 0.2, 0.9], [0.3, 0.8, 2.0, 1.0])
    terms = [
        Term(expert, label(0), label(2), weight=2.5, reliability=3.0),
        Term(expert, label(1), label(3), weight=-0.5),
        Term(expert, label(1), label(3), weight=1.0),
    ]
    settings = {"rule": OWN_NULL} if rule == "own null" else {}
    x, seen = samples(0.4, -1.7), []

    def weigh(weights, terms):
        seen.append(dict(weights))
        return {0: 0.5, 1: -0.25, 2: 0.75}

    combined, found = ProductDenoiser(terms, **settings).with_terms(x, 0.8, weigh)
    d = [m + s / (s + 0.64) * (x - m) for m, s in zip([-1.0, 1.5, 0.2, 0.9], [0.3, 0.8, 2.0, 1.0], strict=True)]
    u = 0.6 * d[2] + 0.4 * d[3]
    first, second = (d[2], d[3]) if rule == "own null" else (u, u)
    expected = [first + 2.5 * (d[0] - first), second + 0.5 * (d[1] - second), d[1]]
    for i, value in enumerate(expected):
        torch.testing.assert_close(found[i], value)
    assert seen == [{0: 2.5, 1: -0.5, 2: 1.0}]
    torch.testing.assert_close(combined, 0.5 * expected[0] - 0.25 * expected[1] + 0.75 * expected[2])


@pytest.mark.parametrize("rule", ["eq10", "own null"])
def test_a_plan_of_experts_alone_knows_u(rule):
    """U of Eq. 10, or of the experts' own nulls those that are asked."""
    expert = gaussian_expert([-1.0, 1.5, 0.2, 0.9], [0.3, 0.8, 2.0, 1.0])
    terms = [Term(expert, label(0), label(2), weight=2.5, reliability=3.0), Term(expert, label(1), label(3))]
    combination, moment = (
        Combination(terms=terms, rule=OWN_NULL if rule == "own null" else EQ10),
        Moment((0, 1), (1.0, 1.0), ()),
    )
    plan = plan_separately(combination, moment)
    cond, null = {0: samples(1.0), 1: samples(-2.0)}, {2: samples(0.4), 3: samples(0.8)}
    null = {j: null[j + 2] for j in plan.everything.nulls}
    expected = 0.4 if rule == "own null" else 0.75 * 0.4 + 0.25 * 0.8
    assert plan.unconditional(cond, null).item() == pytest.approx(expected)
    weighed = replace(plan, weights=[0.3, 0.7])
    assert weighed.pair(cond, null)[0].item() == pytest.approx(0.3 * (expected + 2.5 * (1.0 - expected)) - 0.7 * 2.0)
    unasked = plan_separately(combination.with_weights([1.0, 1.0]), moment)
    assert unasked.unconditional(cond, {}) is None


@pytest.mark.parametrize("weight", [0.5, -0.7])
def test_a_null_that_an_expert_alone_needs_is_asked_for(weight):
    """The product of weights that sum to 1 needs none."""
    first, second = (gaussian_expert([mean], [0.3], name=name) for mean, name in ((-1.0, "first"), (1.5, "second")))
    terms = [Term(first, label(0), weight=1 - weight, reliability=0.0), Term(second, label(0), weight=weight)]
    ProductDenoiser(terms)(samples(0.3), 1.0)
    message = r"Second needs a negative, because first is asked by itself, at a weight that .*\. Give .* set that"
    with pytest.raises(ValueError, match=message):
        sample_logic(ProductDenoiser(terms), samples(0.3), [1.0, 0.5])


@pytest.mark.parametrize(("weights", "rows"), [((1.0, 1.0), 2), ((1.0, -1.0), 2), ((1.0, 0.5), 3), ((0.5, 0.5), 3)])
def test_nulls_are_asked_only_where_a_weight_is_not_1(weights, rows):
    expert = recorded(gaussian_expert([-1.0, 1.5, 0.2], [0.3, 0.8, 2.0]))
    terms = [Term(expert, label(k), label(2), weight=w) for k, w in enumerate(weights)]
    sample_logic(ProductDenoiser(terms), samples(0.4, -1.7), [2.0, 1.0, 0.0], generator=torch.Generator())
    assert expert.network.batches == [2 * rows] * 2


def test_an_earlier_null_stands_in_for_those_of_the_steps_between():
    expert = recorded(gaussian_expert([1.0, 1.5, 0.2], [0.3, 0.8, 2.0]))
    terms = [Term(expert, label(k), label(2), weight=w) for k, w in enumerate((1.5, 2.0))]

    def run(*settings: Passes) -> Tensor:
        expert.network.batches.clear()
        experts = ProductDenoiser(terms, settings=settings)
        with experts.running(spaced(6)):
            return sample_logic(experts, samples(0.4, 1.7), spaced(6), generator=torch.Generator().manual_seed(1))

    fewer = run(Passes(threshold=-1.0, refresh=3))
    assert expert.network.batches == [2 * 3, 2 * 2, 2 * 2] * 2
    difference = (fewer - run()).abs().max()
    assert expert.network.batches == [2 * 3] * 6
    assert 1e-6 < difference < 1


@pytest.mark.parametrize("operation", ["and", "or"])
@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_one_expert_alone_is_ancestral_sampling_to_the_bit(weight, operation):
    expert = gaussian_expert([0.3, 0.0], [0.5, 2.0])
    experts = ProductDenoiser([Term(expert, label(0), label(1), weight=weight)])
    logic = Logic(operation=operation, sharpness=0.7)
    found = sample_logic(experts, noise(5), spaced(30), generator=torch.Generator().manual_seed(2), logic=logic)
    plain = sample_ddpm(experts, noise(5), spaced(30), generator=torch.Generator().manual_seed(2))
    assert torch.equal(found, plain)


def test_an_expert_outside_its_window_finds_each_step_as_likely_as_the_combination():
    expert = gaussian_expert([-1.0, 1.5], [0.3, 0.8])
    terms = [Term(expert, label(0)), Term(expert, label(1), sigma_start=2.0)]
    x, seen, experts = samples(0.5, -0.4), [], ProductDenoiser(terms)
    tracked = TrackedDensities(Logic(), x)
    for sigma in (3.0, 1.5):
        denoised, found = experts.with_terms(x, sigma, tracked.weigh)
        seen.append(sorted(found))
        tracked.follow(torch.ones_like(x), {i: x0 - denoised for i, x0 in found.items()}, sigma, sigma / 2)
        if sigma == 3.0:
            assert tracked.logs[0].tolist() == [0.0, 0.0]  # it is the combination
    assert seen == [[0], [0, 1]]
    assert tracked.logs[0].tolist() != tracked.logs[1].tolist()


def test_an_area_is_all_that_counts():
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    area = torch.tensor([[1.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    logs = []
    for given in (area, None):
        tracked = TrackedDensities(Logic(), x, given)
        tracked.weigh({0: 1.0}, {0: x})
        added, shift = (x, x.flip(0)) if given is not None else (x[..., :1], x.flip(0)[..., :1])
        if given is None:
            added, shift = (torch.cat([of[:, :, :1], of[:, :, 1:] * math.sqrt(0.5)], 2) for of in (added, shift))
        tracked.follow(added, {0: shift}, 2.0, 1.0)
        logs.append(tracked.logs[0])
    torch.testing.assert_close(*logs)


def test_experts_that_take_turns_are_refused_since_nothing_weighs_one_against_another():
    experts = denoiser([-1.0, 1.0], [0.5, 1.5], settings=[Passes(threshold=1.0, refresh=1, switch=2)])
    with experts.running(spaced(12)), pytest.raises(ValueError, match="experts that take turns; set `switch` of"):
        sample_logic(experts, noise(2), spaced(12))


def test_a_level_may_come_twice():
    def run(sigmas: list[float], sampler) -> Tensor:
        return sampler(denoiser([-1.0], [0.5]), noise(6), sigmas, generator=torch.Generator().manual_seed(1))

    twice = [2.0, 1.0, 1.0, 0.0]
    assert torch.equal(run(twice, sample_logic), run(twice, sample_ddpm))
    both = sample_logic(denoiser([-1.0, 1.0], [0.5, 1.5]), noise(6), twice, generator=torch.Generator())
    assert both.isfinite().all()


def test_a_run_that_could_not_finish_calls_no_network():
    expert = recorded(gaussian_expert([-1.0, 1.0], [0.5, 1.5]))
    terms = [Term(expert, label(0), label(1), end=0.5), Term(expert, label(1), label(0), weight=-1.0)]
    experts = ProductDenoiser(terms)
    with experts.running(spaced(12)), pytest.raises(ValueError, match="positive weight at every noise level"):
        sample_logic(experts, noise(2), spaced(12))
    assert not expert.network.batches


@pytest.mark.parametrize("announced", [True, False])
def test_a_run_is_let_go_with_its_sampler(announced):
    experts, levels = denoiser([-1.0, 1.0], [0.5, 1.5]), spaced(4)
    made = weakref.ref(start := noise(6))
    with experts.running(levels) if announced else nullcontext():
        sample_logic(experts, start, levels)
    del start
    assert made() is None  # without the garbage collector


def test_scores_of_a_run_heed_masks():
    """An expert is scored where it acts, as under the product."""
    mask = torch.tensor([[1.0, 0.0]])
    expert = gaussian_expert([-1.0, 1.0, 0.2], [0.5, 1.5, 1.0])
    terms = [Term(expert, label(k), label(2), weight=2.0, mask=mask if k else None) for k in range(2)]
    x, found = torch.randn(3, 1, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), []

    def halves(weights, terms):
        return dict.fromkeys(weights, 0.5)

    for ask in (lambda of: of(x, 1.0), lambda of: of.with_terms(x, 1.0, halves)):
        scores = LiftScores(terms)
        ask(ProductDenoiser(terms, settings=[scores]))
        found.append(scores.of(x))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"operation": "xor"}, "operation of and, or, and got xor; choose"),
        ({"sharpness": 0.0}, "sharpness above 0 and got 0; set"),
        ({"sharpness": math.nan}, "sharpness above 0 and got nan; set"),
        ({"priors": (1.0, 0.0)}, "prior above 0 and got 0; set"),
        ({"excluded": math.nan}, "prior above 0 and got nan; set"),
        ({"largest": -1.0}, "excluded experts count, to be 0 or more and got -1; set"),
        ({"largest": math.nan}, "excluded experts count, to be 0 or more and got nan; set"),
    ],
)
def test_settings_that_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Logic(**setting)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"denoiser": lambda x, sigma: x}, "densities are tracked .* got a function without `with_terms`; use another"),
        ({"denoiser": denoiser([0.3], [0.5], [-1.0])}, "positive weight at every noise level, .* raise the weight"),
        ({"logic": Logic(priors=(1.0,))}, "prior for each expert and got 1 of them for expert 2; give"),
        ({"x": samples(1.0, math.nan)}, "finite predictions to track densities by .* at σ = 2; lower"),
    ],
)
def test_runs_that_are_refused(options, message):
    given = {"denoiser": denoiser([0.3, 0.1], [0.5, 1.0]), "x": samples(1.0, 2.0), "sigmas": [2.0, 1.0, 0.0]}
    with pytest.raises(ValueError, match=message):
        sample_logic(**given | options)

"""Lift scores gathered in a run, against plain loops over what it asked; how they follow samples; choosing by them."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from torch import Tensor

from mcdm_core import EQ10, OWN_NULL, Passes, ProductDenoiser, Term, sample_ddim, sample_product
from mcdm_core.product.methods.lift_scores import LiftScores, least_scores
from mcdm_core.sampling import choose
from mcdm_core.sampling.choose import told_choice
from studies.gaussian import gaussian_expert, label

from ...support.gaussians import samples

MEANS, VARIANCES = [-1.0, 1.5, 0.2, 0.9], [0.3, 0.8, 2.0, 1.2]
NULLS = (2, 3)  # of either expert
SIGMAS = [20.0, 3.0, 1.0, 0.4, 0.0]
ANCESTRAL = partial(sample_ddim, eta=1.0)


def terms(weights: tuple[float, float] = (1.5, 2.0), **settings: object) -> list[Term]:
    expert = gaussian_expert(MEANS, VARIANCES)
    return [Term(expert, label(k), label(NULLS[k]), weight=weights[k], **settings) for k in range(2)]


def noise(batch: int = 4, size: int = 2) -> Tensor:
    return torch.randn(batch, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 20


class Watched(ProductDenoiser):
    """A product that keeps what it was asked about."""

    def __init__(self, *arguments: object, **settings: object):
        super().__init__(*arguments, **settings)
        self.points: list[tuple[Tensor, float]] = []

    def with_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
        self.points.append((x.clone(), float(sigma)))
        return super().with_variance(x, sigma)


def run(denoiser: ProductDenoiser, sampler=ANCESTRAL, start: Tensor | None = None, **options: object) -> Tensor:
    with denoiser.running(SIGMAS):
        generator = torch.Generator().manual_seed(5)
        return sampler(denoiser, noise() if start is None else start, SIGMAS, generator=generator, **options)


def by_loops(points: list[tuple[Tensor, float]], made: Tensor, mask: Tensor | None = None) -> list[list[float]]:
    """How much nearer the samples are to what is predicted under the condition than to that under the null."""
    found = []
    for row in range(len(made)):
        scores = []
        for k in range(2):
            total = 0.0
            for x, sigma in points:
                errors, counted = 0.0, 0.0
                for place, value in enumerate(x[row].flatten().tolist()):
                    wrong = []
                    for of in (NULLS[k], k):
                        gain = VARIANCES[of] / (VARIANCES[of] + sigma**2)
                        predicted = MEANS[of] + gain * (value - MEANS[of])
                        wrong.append((made[row].flatten()[place].item() - predicted) ** 2)
                    count = 1.0 if mask is None else mask.flatten()[place].item()
                    errors += count * (wrong[0] - wrong[1])
                    counted += count
                total += errors / counted
            scores.append(total / len(points))
        found.append(scores)
    return found


@pytest.mark.parametrize(
    ("weights", "mask"), [((1.5, 2.0), None), ((2.0, -1.0), torch.tensor([[1.0, 0.25], [0.0, 0.5]]))]
)
def test_brute_force(weights, mask):
    """The score of an expert of negative weight has its sign changed."""
    scores = LiftScores(terms(weights, mask=mask))
    watched = Watched(terms(weights, mask=mask), settings=[scores])
    made = run(watched)
    expected = torch.tensor(by_loops(watched.points, made, mask), dtype=torch.float64)
    torch.testing.assert_close(scores.of(made), expected * torch.tensor(weights).sign(), atol=1e-6, rtol=1e-5)
    assert len(watched.points) == 4


@pytest.mark.parametrize("before", [2, 3])
def test_a_second_run_begins_anew(before):
    scores, alone = LiftScores(terms()), LiftScores(terms())
    sample_product(terms(), noise(before), "4", settings=[scores])
    made = sample_product(terms(), noise(1), "4", settings=[scores])
    assert torch.equal(sample_product(terms(), noise(1), "4", settings=[alone]), made)
    assert torch.equal(scores.of(made), alone.of(made))


def test_an_expert_whose_mask_leaves_out_a_picture_says_nothing_about_it():
    """Of four pictures one is chosen from as without the second expert; the others are scored as by loops."""
    masks = torch.ones(4, 1, 2, 2, dtype=torch.float64)
    masks[1] = 0.0
    both = [terms()[0], dataclasses.replace(terms()[1], mask=masks)]
    scores = LiftScores(both)
    watched = Watched(both, settings=[scores])
    made = run(watched)
    found, expected = scores.of(made), torch.tensor(by_loops(watched.points, made), dtype=torch.float64)
    assert found[1, 1] == torch.inf
    expected[1, 1] = found[1, 1]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert found.amin(1)[1] == found[1, 0]


@pytest.mark.parametrize("rule", [EQ10, OWN_NULL])
def test_gathering_changes_nothing_and_asks_nothing(rule):
    plain, gathered = (ProductDenoiser(terms(), rule=rule, settings=scores) for scores in ([], [LiftScores(terms())]))
    assert torch.equal(run(gathered), run(plain))


def test_own_nulls_are_what_lifts_are_measured_against():
    shared, own = LiftScores(terms()), LiftScores(terms())
    start = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    for scores, rule in ((shared, EQ10), (own, OWN_NULL)):
        ProductDenoiser(terms(), rule=rule, settings=[scores])(start, 1.0)
    torch.testing.assert_close(shared.of(start), own.of(start))


def test_predictions_that_stand_in_do_not_count():
    """Of four steps the first and the last ask for everything."""
    scores, passes = LiftScores(terms()), Passes(threshold=-1.0, refresh=3)
    watched = Watched(terms(), settings=[passes, scores])
    made = run(watched)
    asked = [watched.points[0], watched.points[3]]
    expected = torch.tensor(by_loops(asked, made), dtype=torch.float64)
    torch.testing.assert_close(scores.of(made), expected, atol=1e-6, rtol=1e-5)


def test_who_was_not_asked_is_told():
    scores = LiftScores(terms((0.4, 0.6)))
    made = run(ProductDenoiser(terms((0.4, 0.6)), settings=[scores]))
    assert len(scores.unasked) == 2  # weights that sum to 1 take no null
    with pytest.raises(ValueError, match=r"level at which gauss is asked .* and got none; raise .* reliability"):
        scores.of(made)
    lent = [*terms((0.4, 0.6)), Term(gaussian_expert(MEANS, VARIANCES), None, label(2), weight=0.0)]
    assert len(LiftScores(lent).unasked) == 2  # who lends a null isn't asked for


def log_ratios(made: Tensor) -> Tensor:
    """log p(x0 | c) − log p(x0) of both conditions, up to a constant, per value."""
    logs = [-0.5 * (made - mean) ** 2 / variance for mean, variance in zip(MEANS, VARIANCES, strict=True)]
    return torch.stack([(logs[k] - logs[NULLS[k]]).flatten(1).mean(1) for k in range(2)], dim=1)


def scored(weights: tuple[float, float], eta: float) -> tuple[Tensor, Tensor]:
    """Scores after 25 steps, and log ratios, of 1000 samples of 64 values; shape (1000, 2) each."""
    scores, generator = LiftScores(terms(weights)), torch.Generator().manual_seed(1)
    sigmas = [*(20 * 1e-3 ** (i / 24) for i in range(25)), 0.0]
    start = 20 * torch.randn(1000, 1, 8, 8, dtype=torch.float64, generator=generator)
    made = sample_ddim(ProductDenoiser(terms(weights), settings=[scores]), start, sigmas, generator=generator, eta=eta)
    return scores.of(made), log_ratios(made)


def correlation(*pair: Tensor) -> float:
    return torch.corrcoef(torch.stack(pair))[0, 1].item()


def correlations(weights: tuple[float, float], eta: float) -> list[float]:
    """Of either expert's scores with its log ratios."""
    scores, ratios = scored(weights, eta)
    return [correlation(*of_expert) for of_expert in zip(scores.T, ratios.T, strict=True)]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.5, 2.0), (2.0, 4.0)])
def test_after_ancestral_steps_the_scores_of_every_expert_follow_its_likelihoods(weights):
    assert min(correlations(weights, 1.0)) > 0.87


def test_after_deterministic_steps_under_guidance_they_may_be_turned_around():
    """The noise left is then what guidance pushed, and no noise replaced."""
    assert min(correlations((1.0, 1.0), 0.0)) > 0.95  # none was needed: it is the experts' own
    assert min(correlations((2.0, 2.0), 0.0)) < -0.5


def test_samples_of_nothing_finite():
    scores = LiftScores(terms())
    ProductDenoiser(terms(), settings=[scores])(torch.zeros(2, 1, 2, 2, dtype=torch.float64), 1.0)
    with pytest.raises(ValueError, match="finite samples and predictions of gauss"):
        scores.of(samples(0.0, float("nan")).expand(2, 1, 2, 2))


def test_without_an_expert_of_any_weight_there_is_no_lift():
    with pytest.raises(ValueError, match="weight is not 0 to choose by and got none; raise"):
        LiftScores([dataclasses.replace(terms()[0], weight=0.0)]).of(samples(0.0, 1.0))


def test_samples_that_all_experts_lift_are_kept():
    scores = torch.tensor([[0.5, -0.1], [0.2, 0.3], [0.9, 0.1], [-2.0, 5.0], [0.2, 0.2]])
    assert choose(scores, 3).tolist() == [1, 4, 2]
    assert choose(scores, 5).tolist() == [1, 4, 2, 0, 3]


def test_a_picture_that_every_mask_leaves_out_is_chosen_last():
    scores = torch.tensor([[math.inf, math.inf], [-9.0, math.inf], [0.5, 2.0]])
    assert choose(scores, 3).tolist() == [2, 1, 0]
    assert least_scores(scores).tolist() == [-math.inf, -9.0, 0.5]
    assert told_choice(["hair", "skin"], scores).splitlines() == [
        "picture 3: smallest lift +0.5000 (hair +0.5000, skin +2.0000)",
        "picture 2: smallest lift -9.0000 (hair -9.0000, skin none, outside the mask)",
        "picture 1: outside every mask",
    ]


@pytest.mark.parametrize(
    ("count", "batch", "message"),
    [
        (1, 1, "at least 2 samples to choose from and got 1; raise"),
        (4, 3, "from 1 to all 3 samples and got 4; lower"),
        (0, 3, "from 1 to all 3 samples and got 0; lower"),
    ],
)
def test_choices_that_are_none(count, batch, message):
    with pytest.raises(ValueError, match=message):
        choose(torch.zeros(batch, 2), count)

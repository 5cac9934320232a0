"""Methods beyond a plain run: what each setting samples with them, and the rows that it takes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from mcdm_core import Passes, Term, load_expert, sample_product
from mcdm_core.product.methods.lift_scores import LiftScores
from mcdm_core.sampling.choose import choose
from mcdm_core.sampling.ddim import sample_ddim
from mcdm_core.sampling.logic import sample_logic
from mcdm_core.sampling.operations import Logic
from studies.evaluation import sampling
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.kinds import open_held_out
from studies.evaluation.methods import Choice
from studies.evaluation.sampling import draw_samples

from ...support.evaluations import InProcess, images_of, write_small_maps

FACES = DataConfig("faces", seed=23_000_000, count=3)
WEIGHTS = {"hair": 2.0, "skin": 3.0}
TERMS = tuple(TermConfig(name, (name,), weight=weight) for name, weight in WEIGHTS.items())
PLAIN = Setting("plain", TERMS, steps=3, eta=1.0)
ROWS = 4 * PLAIN.steps  # two conditions and two nulls a step


@pytest.fixture
def experts(tmp_path):
    return write_small_maps(tmp_path / "experts", *WEIGHTS)


@pytest.fixture
def draw(experts, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)
    return lambda setting, count=2: draw_samples(setting, FACES, experts, count, tmp_path / "samples", 1, counted=True)


def terms_of(experts, indices):
    faces, terms = open_held_out(FACES), []
    for name, weight in WEIGHTS.items():
        expert = load_expert(experts[name])
        condition = expert.encoder.encode_map(faces.map_of(name, indices))
        terms.append(Term(expert, condition, condition.null(), weight=weight))
    return terms


def noise_of(*seeds):
    return torch.stack([torch.randn(3, 64, 64, generator=generator(seed)) for seed in seeds])


def generator(seed):
    return torch.Generator().manual_seed(seed)


def sampled(experts, indices, noise, seed, sampler, **options):
    """A run of the library alone."""
    terms = terms_of(experts, indices)
    with torch.no_grad():
        return sample_product(terms, noise, "3", sampler=sampler, generator=generator(seed), **options)


ANCESTRAL = partial(sample_ddim, eta=1.0)
ADDED = 1_000_000  # the seed of the noise that is added to the first picture
NEXT = 10_000_000  # seeds to the next candidate


def test_a_plain_run_asks_each_network_for_its_rows(draw, experts):
    samples = draw(PLAIN)
    assert np.array_equal(samples.images, images_of(sampled(experts, [0, 1], noise_of(0, 1), ADDED, ANCESTRAL)))
    assert samples.rows.tolist() == [ROWS, ROWS]


def test_rows_are_counted_where_an_earlier_run_has_not(draw, experts, tmp_path):
    images = draw_samples(PLAIN, FACES, experts, 2, tmp_path / "samples", 1).images
    (file,) = (tmp_path / "samples").iterdir()
    samples = draw(PLAIN)
    assert np.array_equal(samples.images, images)
    assert samples.rows.tolist() == [ROWS, ROWS]
    np.save(file, 255 - images)  # what lies there with its rows is read, with and without them
    assert np.array_equal(draw(PLAIN).images, 255 - images)
    assert np.array_equal(draw_samples(PLAIN, FACES, experts, 2, tmp_path / "samples", 1).images, 255 - images)


def test_passes_are_left_out_of_the_count(draw):
    samples = draw(replace(PLAIN, passes=Passes(threshold=-1.0, refresh=3)))
    assert samples.rows.tolist() == [ROWS - 4, ROWS - 4]  # of three steps two ask no null


def test_pictures_that_are_not_sampled_together_are_batches_of_their_own(draw, experts):
    alone = draw(replace(PLAIN, together=1))
    expected = [sampled(experts, [i], noise_of(i), ADDED + i, ANCESTRAL) for i in range(2)]
    assert np.array_equal(alone.images, images_of(torch.cat(expected)))
    assert alone.rows.tolist() == [ROWS, ROWS]


@pytest.mark.parametrize("logic", [Logic(operation="or"), Logic(sharpness=0.03), Logic(priors=(2.0, 1.0))])
def test_experts_are_combined_by_logic(logic, draw, experts):
    samples = draw(replace(PLAIN, logic=logic))
    expected = sampled(experts, [0, 1], noise_of(0, 1), ADDED, partial(sample_logic, logic=logic))
    assert np.array_equal(samples.images, images_of(expected))
    assert samples.rows.tolist() == [ROWS, ROWS]
    assert not np.array_equal(samples.images, draw(PLAIN).images)


def test_experts_choose_by_what_their_runs_asked_anyway(draw, experts):
    samples = draw(replace(PLAIN, choose=Choice(of=3, by="run")), 3)
    pictures, scores = [], []
    for candidate in range(3):
        noise = noise_of(*(i + candidate * NEXT for i in range(3)))
        of_run = LiftScores(terms_of(experts, range(3)))
        pictures.append(sampled(experts, range(3), noise, ADDED + candidate * NEXT, ANCESTRAL, settings=[of_run]))
        scores.append(of_run.of(pictures[-1]))
    best = [int(choose(torch.stack([of[i] for of in scores]), 1)) for i in range(3)]
    assert len(set(best)) > 1  # else any rule would do
    expected = torch.stack([pictures[candidate][i] for i, candidate in enumerate(best)])
    assert np.array_equal(samples.images, images_of(expected))
    assert samples.rows.tolist() == [3 * ROWS] * 3

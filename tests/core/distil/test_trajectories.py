"""Where the product is asked."""

import copy
import math
import weakref
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from mcdm_core import EQ10, Flow, Passes, ProductDenoiser, Schedule, sample_ddim
from mcdm_core.diffusion.schedule import sigma_at_progress
from mcdm_core.distil.buffer import Buffer
from mcdm_core.distil.config import TrajectoryConfig
from mcdm_core.distil.loss import Loss
from mcdm_core.distil.product import ExpertStudent, ProductTeacher
from mcdm_core.distil.run import DistilRun
from mcdm_core.distil.task import Task
from mcdm_core.distil.trajectories import draw_levels, highest, walk
from mcdm_core.sampling.run import first_sample

from ...support.distillation import SCHEDULE, labels, make_config, make_student, make_terms
from ...support.gaussians import recorded

PROMPTS = torch.tensor([2, 0, 1, 1, 2])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise():
    return torch.randn(len(PROMPTS), 2, 1, 1, generator=generator(1), dtype=torch.float64)


def level(progress):
    return sigma_at_progress(SCHEDULE, progress)


def answer(teacher, x, sigma):
    """What a teacher says at one level."""
    found = []
    teacher(PROMPTS, [sigma, 0.0], lambda denoiser, rows: found.append(denoiser(x[rows], sigma)))
    return torch.cat(found)


def learned(buffer, step, network):
    """The points of a step that is made."""
    points = buffer.batch(step, network)
    buffer.finish_batch()
    return points


def make_task(teacher, student=None, **changes):
    student = student or make_student()
    asked = ExpertStudent(student, labels(0, 1, 2))
    task = Task(teacher, asked, (2, 1, 1), teacher.level, Loss(student.prediction, student.schedule, 5.0), range(3))
    return replace(task, dtype=torch.float64, **changes)


@pytest.mark.parametrize("schedule", [Schedule.linear(), Schedule.cosine(), Flow()], ids=lambda s: type(s).__name__)
def test_levels_fall_from_all_noise_to_none_and_are_drawn(schedule):
    def of_schedule(progress):
        return sigma_at_progress(schedule, progress)

    drawn = [draw_levels(6, of_schedule, generator(seed)) for seed in range(300)]
    for sigmas in drawn:
        assert len(sigmas) == 7
        assert sigmas[0] == highest(of_schedule) < math.inf
        assert sigmas[-1] == 0
        assert all(first > second for first, second in pairwise(sigmas))
    # One in each fifth of the progress, anywhere in it.
    progress = 1 - torch.tensor([[schedule.t(torch.tensor(s)).item() for s in each[1:-1]] for each in drawn]) / 1000
    for part in range(5):
        assert progress[:, part].min().item() == pytest.approx(part / 5, abs=0.01)
        assert progress[:, part].max().item() == pytest.approx((part + 1) / 5, abs=0.01)


def test_a_single_step_goes_from_all_noise_to_none():
    assert draw_levels(1, level, generator()) == [level(0.0), 0.0]


def test_the_product_walks_as_it_samples():
    """Its points are those at which a sampler asks it, and its last x0 is the sample."""
    teacher, sigmas = ProductTeacher(make_terms(), EQ10), [100.0, 3.0, 0.5, 0.0]
    points = walk(teacher, noise(), sigmas, PROMPTS, eta=0.6, generator=generator(2))

    def ask(denoiser, rows):
        assert rows.tolist() == [0, 1, 2, 3, 4]
        again = sample_ddim(denoiser, first_sample(noise(), 100.0), sigmas, eta=0.6, generator=generator(2))
        assert torch.equal(points.x0[-5:], again)
        for index, sigma in enumerate(sigmas[:-1]):
            level = slice(5 * index, 5 * index + 5)
            assert torch.equal(denoiser(points.x[level], sigma), points.x0[level])
            assert (points.sigma[level] == sigma).all()

    teacher(PROMPTS, sigmas, ask)
    assert torch.equal(points.prompts, PROMPTS.repeat(3))


def test_each_sample_is_of_its_own_prompt():
    teacher, x = ProductTeacher(make_terms(), EQ10), noise()
    together = answer(teacher, x, 1.0)
    for row, prompt in enumerate(PROMPTS.tolist()):
        alone = [
            replace(term, condition=labels(int(term.condition.labels[prompt])), null=term.null) for term in make_terms()
        ]
        torch.testing.assert_close(ProductDenoiser(alone)(x[row : row + 1], 1.0), together[row : row + 1])


def test_windows_curves_and_masks_are_the_products():
    mask = torch.tensor([[[0.25]], [[1.0]], [[0.5]]], dtype=torch.float64)
    terms = make_terms(sigma_end=0.2, weight_curve=((0.0, 2.0), (1.0, 0.5)))
    terms = [replace(terms[0], mask=mask), replace(terms[1], sigma_end=0.0)]
    chosen = [replace(t, condition=t.condition.take(PROMPTS), null=t.null.take(PROMPTS)) for t in terms]
    chosen[0] = replace(chosen[0], mask=mask[PROMPTS])
    product, x = ProductDenoiser(chosen), noise()
    for sigma in (50.0, 0.7, 0.1):
        assert torch.equal(answer(ProductTeacher(terms, EQ10), x, sigma), product(x, sigma))


@pytest.mark.parametrize("parts", [[[0, 1, 2, 3, 4]], [[1], [0, 4], [2, 3]]], ids=["at once", "in parts"])
def test_the_student_walks_where_it_goes_and_the_product_says_what_it_should_have_done(parts):
    """Also where the product is asked for some prompts after the others, and only once the student is there."""
    teacher, sigmas = ProductTeacher(make_terms(), EQ10), [100.0, 3.0, 0.5, 0.0]
    seen = []
    walker = make_task(teacher).walker(make_student().network, PROMPTS)

    def walked(x, sigma):
        seen.append(x)
        return walker(x, sigma)

    def in_parts(prompts, levels, ask):
        assert len(seen) == 3
        for rows in parts:
            teacher(prompts[rows], levels, lambda denoiser, _, rows=rows: ask(denoiser, torch.tensor(rows)))

    points = walk(in_parts, noise(), sigmas, PROMPTS, student=walked)
    order = [5 * level + row for rows in parts for level in range(3) for row in rows]
    assert torch.equal(points.x, torch.cat(seen)[order])
    assert torch.equal(points.prompts, PROMPTS.repeat(3)[order])
    assert points.sigma.tolist() == [sigmas[place // 5] for place in order]
    for index in (1, 7, 13):
        place = order[index]
        x0 = answer(teacher, torch.cat(seen)[place // 5 * 5 : place // 5 * 5 + 5], sigmas[place // 5])[place % 5]
        torch.testing.assert_close(points.x0[index], x0)


def test_passes_are_left_out_along_a_trajectory():
    terms = make_terms()
    recorded(terms[0].expert)
    batches, asked = terms[0].expert.network.batches, []
    for settings in ([], [Passes(threshold=-1.0, refresh=3)]):
        walk(ProductTeacher(terms, EQ10, settings), noise(), [9.0, 3.0, 1.0, 0.0], PROMPTS)
        asked.append(sum(batches))
        batches.clear()
    assert asked == [3 * 15, 15 + 2 * 10]


def test_what_a_run_logs_is_logged_once(caplog):
    teacher = ProductTeacher(make_terms(), EQ10, [Passes(threshold=-1.0, refresh=3)])
    with caplog.at_level("INFO", "mcdm_core.product"):
        for _ in range(3):
            walk(teacher, noise(), [9.0, 3.0, 0.0], PROMPTS)
    assert len([record for record in caplog.records if "Fewer passes" in record.message]) == 1


def test_a_filling_is_used_up_before_the_next():
    """Each point is seen `uses` times, in batches of all levels and prompts."""
    teacher = ProductTeacher(make_terms(), EQ10)
    config = make_config(trajectories=TrajectoryConfig(3, 3, batches=5, uses=2, own=0.0))
    buffer, network = Buffer(make_task(teacher), config), make_student().network
    batches = [learned(buffer, step, network) for step in range(2 * 3 * 5)]
    assert {len(points.sigma) for points in batches} == {4}
    seen = torch.cat([points.x for points in batches]).flatten(1)
    _, counts = seen.unique(dim=0, return_counts=True)
    assert counts.tolist() == [2] * (3 * 5 * 4)
    assert len(torch.cat([points.sigma for points in batches]).unique()) == 1 + 2 * 5  # the first is common to all
    assert max(len(points.sigma.unique()) for points in batches) > 2
    assert buffer.batch(30, network).x.flatten(1)[0].tolist() not in seen.tolist()


@pytest.mark.parametrize(("step", "own"), [(4, 0.0), (5, 1.0)])
def test_the_student_walks_its_share_from_the_configured_part_of_the_run_on(step, own):
    """What it walks ends where it says, and not where the product does."""
    teacher = ProductTeacher(make_terms(), EQ10)
    config = make_config(steps=10, trajectories=TrajectoryConfig(2, 2, batches=8, own=1.0, own_from=0.5))
    task, network, walked = make_task(teacher), make_student().network, []
    student = task.student
    counting = lambda *given: walked.append(1) or student(*given)  # noqa: E731
    buffer = Buffer(replace(task, student=counting), config)
    buffer.batch(step, network)
    assert len(walked) == own * 8 * 2


def test_unseen_prompts_are_not_trained_on():
    task = replace(make_task(ProductTeacher(make_terms(), EQ10)), trained=(0, 2))
    buffer, network = Buffer(task, make_config()), make_student().network
    seen = torch.cat([learned(buffer, 0, network).prompts for _ in range(40)])
    assert set(seen.tolist()) == {0, 2}


@pytest.mark.parametrize("call", [2, 6])
@pytest.mark.parametrize("own", [0.0, 1.0], ids=["product", "student"])
def test_a_step_that_fails_midway_counts_for_nothing(tmp_path, own, call):
    """Its points are learned by the next, as if it had not been; also where the student failed as it walked them."""
    teacher = ProductTeacher(make_terms(), EQ10)
    task, student = make_task(teacher), make_student()
    calls = iter(range(1, 100))

    def failing(*given):
        if next(calls) == call:
            raise ValueError("asked to fail")
        return task.student(*given)

    config = make_config(steps=9, trajectories=TrajectoryConfig(2, 2, batches=2, own=own, own_from=0.0))
    runs = []
    for name, asked in (("whole", task.student), ("failing", failing)):
        network = copy.deepcopy(student.network).requires_grad_(True)
        run = DistilRun(replace(task, student=asked), network, config, tmp_path / name)
        while run.step < 9:
            with suppress(ValueError):
                run.train_step()
        runs.append(run.network.state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_points_are_let_go_before_the_next_are_made(tmp_path):
    teacher, filled, living = ProductTeacher(make_terms(), EQ10), [], []

    def asked(*given):
        living.append([points() is not None for points in filled])
        teacher(*given)

    config = make_config(steps=9, trajectories=TrajectoryConfig(2, 2, batches=1, own=0.0))
    run = DistilRun(replace(make_task(teacher), teacher=asked), make_student().network, config, tmp_path)
    for _ in range(5):
        run.train_step()
        filled.append(weakref.ref(run.buffer.state()["points"][0]))
    assert living == [[], [False] * 2, [False] * 4]

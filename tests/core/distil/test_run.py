"""A distillation from Python: what it gives, what it says, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mcdm_core import Condition, Expert, Flow, Schedule, UNet, UNetConfig, prediction_named
from mcdm_core.distil.run import distil_product
from mcdm_core.networks.low_rank import low_rank_of
from studies.gaussian import gaussian_expert, wide_schedule

from ...support.distillation import MEANS, SCHEDULE, labels, make_config, make_student, make_terms
from ...support.tiny_runs import csv_rows

ALL = labels(0, 1, 2)


def test_experts_keep_no_gradients(tmp_path):
    terms = make_terms()
    for each in terms:
        each.expert.network.unused = nn.Parameter(torch.ones(1))
    distil_product(terms, make_student(), ALL, tmp_path, make_config())
    assert all(term.expert.network.unused.grad is None for term in terms)


def test_a_seed_decides_everything(tmp_path):
    weights = []
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        config = make_config()
        config = replace(config, optimizer=replace(config.optimizer, seed=seed))
        torch.rand(3)  # the process's own generator has no say
        weights.append(distil_product(make_terms(), make_student(), ALL, tmp_path / name, config).mean.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_held_out_losses_fall_and_those_of_unseen_prompts_are_told_apart(tmp_path):
    """A prompt that the network can't infer from others stays as wrong as it was."""
    config = make_config(100)
    config = replace(config, report=replace(config.report, held_out_every=50))
    distil_product(make_terms(), make_student(), ALL, tmp_path, config, unseen=[1])
    rows = csv_rows(tmp_path / "held_out.csv")
    assert [(row["step"], row["prompts"]) for row in rows] == [
        (step, prompts) for step in ("50", "100") for prompts in ("trained", "unseen")
    ]
    losses = {(row["step"], row["prompts"]): float(row["loss"]) for row in rows}
    assert losses["100", "trained"] < 0.5 * losses["50", "trained"]
    assert losses["100", "unseen"] > 10 * losses["100", "trained"]


def test_a_flow_is_distilled_from_its_highest_finite_level(tmp_path):
    terms, student = make_terms("flow", Flow()), make_student("flow", Flow())
    before = student.network.mean.weight.clone()
    network = distil_product(terms, student, ALL, tmp_path, make_config())
    assert network.mean.weight.isfinite().all()
    assert torch.equal(student.network.mean.weight, before)  # a copy of it learns
    assert (network.mean.weight - before).abs().max() > 0.01


def test_trajectories_begin_where_the_student_does(tmp_path):
    """A student that was trained on less noise than the product reaches to is sampled from there."""
    highest = 5.0
    distil_product(make_terms(), make_student("eps", wide_schedule(1e-2, highest)), ALL, tmp_path, make_config())
    sigmas = torch.load(tmp_path / "state.pt", weights_only=True)["buffer"]["points"][1]
    assert sigmas.max().item() == pytest.approx(highest)


def test_without_steps_nothing_is_changed(tmp_path):
    student = make_student()
    network = distil_product(make_terms(), student, ALL, tmp_path, make_config(0))
    assert torch.equal(network.mean.weight, student.network.mean.weight)


def test_pictures_are_of_experts_whose_samples_can_be_decoded(tmp_path, caplog):
    """A student without its VAE is distilled all the same."""

    def missing():
        raise ValueError("There is no VAE; put its file beside the expert.")

    student = make_student()
    student.load_vae = missing
    distil_product(make_terms(), student, ALL, tmp_path, make_config())
    assert "The report gets no pictures: There is no VAE; put its file" in caplog.text
    assert (tmp_path / "held_out.csv").exists()
    assert not [*tmp_path.glob("*.png")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_student_in_half_precision_learns_in_single_precision(tmp_path, dtype):
    shape = {"in_channels": 2, "out_channels": 2, "model_channels": 32, "channel_mult": (1,), "num_res_blocks": 1}
    network = UNet(UNetConfig(**shape, attention_downsamplings=(), num_classes=3)).eval().to(dtype)
    student = Expert(network, SCHEDULE, prediction_named("eps"), image_size=1, channels=2, clamp_x0=False)
    learned = distil_product(make_terms(), student, ALL, tmp_path, make_config())
    assert {weight.dtype for weight in learned.parameters()} == {dtype, torch.float32}
    assert all(change.up.isfinite().all() for change in low_rank_of(learned).values())
    assert any(change.up.any() for change in low_rank_of(learned).values())
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert {points.dtype for points in state["buffer"]["points"][:3]} == {torch.float32}


class Unchangeable(nn.Module):
    """A network without layers that a LoRA changes."""

    def forward(self, x_t, t, *, labels):
        return x_t


def other_space():
    return gaussian_expert([0.0], [1.0], Schedule.linear())


def without_layers():
    return Expert(
        Unchangeable(), Schedule.linear(), prediction_named("v"), image_size=1, channels=2, clamp_x0=False, name="bare"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terms": []}, "at least one term and got none; add an expert"),
        ({"terms": ["hair"]}, "Expected terms and got str; make one of each expert"),
        ({"student": nn.Linear(1, 1)}, "Expected an Expert as the student .* got Linear and Condition; load"),
        ({"conditions": "a face"}, "Expected an Expert .* got Expert and str; .*encode"),
        ({"student": other_space()}, "Expected a student that makes samples of the product's space, and gauss makes"),
        ({"student": without_layers()}, "has linear layers or convolutions, .* bare has none; choose another"),
        ({"conditions": labels(0, 1)}, "Expected as many prompts for the student as for the experts, 3, and got 2"),
        ({"unseen": [3]}, "Expected indices of 3 prompts as unseen ones and got 3"),
        ({"unseen": [0, 1, 2]}, "Expected a prompt to train on, and all 3 are unseen"),
        ({"terms": make_terms(sigma_start=5.0)}, "Expected an active expert at every noise level and got none at"),
    ],
)
def test_what_cannot_be_distilled_is_refused_before_anything_is_written(tmp_path, changes, message):
    given = {"terms": make_terms(), "student": make_student(), "conditions": ALL} | changes
    with pytest.raises(ValueError, match=message):
        distil_product(folder=tmp_path / "run", config=make_config(), **given)
    assert not (tmp_path / "run").exists()


def test_prompts_of_different_numbers_are_refused(tmp_path):
    terms = make_terms()
    terms[1] = replace(terms[1], condition=labels(0, 1))
    with pytest.raises(ValueError, match=r"or of as many rows as there are prompts, and got 2 \(gauss\), 3 \(gauss\)"):
        distil_product(terms, make_student(), ALL, tmp_path, make_config())


def test_several_spaces_are_refused(tmp_path):
    other = gaussian_expert([0.0], [1.0], name="other")
    terms = [*make_terms(), replace(make_terms()[0], expert=other)]
    with pytest.raises(ValueError, match="Expected experts of one latent space to distil and got several"):
        distil_product(terms, make_student(), ALL, tmp_path, make_config())


def test_a_condition_that_the_student_would_ignore_is_refused(tmp_path):
    student = make_student()
    student.network.reads = ("labels",)
    given = Condition(labels=torch.zeros(3, dtype=torch.int64), embedding=torch.zeros(3, len(MEANS)))
    with pytest.raises(ValueError, match=r"that student reads .* got embedding, which it would ignore"):
        distil_product(make_terms(), student, given, tmp_path, make_config())

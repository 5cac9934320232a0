"""Noise on the student's prompts: while it learns, and nowhere else."""

import signal
from dataclasses import replace

import pytest
import torch

from mcdm_core import Condition
from mcdm_core.distil.run import distil_product

from ...support.distillation import LinearNetwork, labels, make_config, make_student, make_terms

STEPS = 200
PROMPTS = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.5], [-1.0, -2.0, 0.5]], dtype=torch.float64)


class Given(list):
    """Embeddings that a network and its copies were given."""

    def __deepcopy__(self, memo):
        return self


class Reading(LinearNetwork):
    """A linear network of an embedding, which keeps what it is given, with and without a gradient."""

    def __init__(self, plain: LinearNetwork):
        super().__init__(plain.schedule, plain.prediction.name)
        self.learning, self.asked = Given(), Given()

    def forward(self, x_t, t, *, embedding):
        (self.learning if torch.is_grad_enabled() else self.asked).append(embedding.detach().clone())
        return super().forward(x_t, t, labels=embedding.abs().argmax(dim=1))


def make_reader():
    student = make_student()
    student.network = Reading(student.network)
    return student


def config(noise):
    given = make_config(STEPS)
    return replace(given, optimizer=replace(given.optimizer, prompt_noise=noise))


def distilled(folder, noise, terms=None, **options):
    """What was learned, and all embeddings that the network was given, with and without a gradient."""
    reader, given = make_reader(), Condition(embedding=PROMPTS)
    network = distil_product(terms or make_terms(), reader, given, folder, config(noise), **options)
    return network, torch.cat(reader.network.learning), torch.cat(reader.network.asked)


def is_prompt(rows):
    return (rows[:, None] == PROMPTS).all(dim=-1).any(dim=-1)


def test_prompts_are_noised_while_the_student_learns_and_only_then(tmp_path):
    _, learning, asked = distilled(tmp_path, 0.3)
    assert is_prompt(asked).all()  # where it walks, and where it is measured
    assert not is_prompt(learning).any()
    nearest = torch.cdist(learning, PROMPTS).argmin(dim=1)
    moved = (learning - PROMPTS[nearest]).square().mean(dim=0)
    # Amounts are uniform up to 0.3 of the prompts' spread: of mean square 0.3² / 3. The last value never varies.
    expected = PROMPTS.std(dim=0, correction=0).square() * 0.03
    torch.testing.assert_close(moved, expected, rtol=0.25, atol=0)


def test_without_it_prompts_are_as_they_are(tmp_path):
    _, learning, asked = distilled(tmp_path, 0.0)
    assert is_prompt(learning).all()
    assert is_prompt(asked).all()


def test_a_run_that_goes_on_has_the_noise_of_its_steps(tmp_path):
    whole, _, _ = distilled(tmp_path / "whole", 0.6)
    calls = iter(range(1, 1_000_000))

    def interrupt(*_):
        if next(calls) == 40:
            signal.raise_signal(signal.SIGINT)

    terms = make_terms()
    terms[0].expert.network.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        distilled(tmp_path / "interrupted", 0.6, terms=terms)
    assert 0 < torch.load(tmp_path / "interrupted" / "state.pt")["step"] < STEPS
    gone_on, _, _ = distilled(tmp_path / "interrupted", 0.6, resume=True)
    assert torch.equal(gone_on.mean.weight, whole.mean.weight)


def test_a_student_without_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"text prompts for prompt_noise 0\.6, and student is given labels; leave"):
        distil_product(make_terms(), make_student(), labels(0, 1, 2), tmp_path / "run", config(0.6))
    assert not (tmp_path / "run").exists()

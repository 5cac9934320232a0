"""Distillations that take a second: Gaussian experts, and a student whose x0 is linear in what it learns.

As a program, `python -m tests.support.distillation FOLDER CALL` distils into FOLDER, and goes on from a state there; it
is killed when the product's network is called for the CALL-th time, 0 for never.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from mcdm_core import Condition, Expert, Term, prediction_named
from mcdm_core.checkpoints.lora import save_lora
from mcdm_core.diffusion.prediction import output_from_x0
from mcdm_core.diffusion.schedule import NoiseSchedule, per_row
from mcdm_core.distil.config import DistilConfig, LearningConfig, LogsConfig, TrajectoryConfig
from mcdm_core.distil.run import distil_product
from studies.gaussian import gaussian_expert, wide_schedule

SCHEDULE = wide_schedule(1e-2, 1e2)
VARIANCE = 0.5
MEANS = torch.tensor([[-1.0, 0.5], [1.5, 0.2], [0.4, -0.7], [0.2, -0.4]], dtype=torch.float64)
NULL = 3

# Of the experts "hair" and "ground" and their student, for the configuration of a distillation.
PROMPTS = """
[[prompts]]
student = { text = "red hair on a blue background" }
hair = { text = "red hair" }
ground = { text = "a blue background" }
[[prompts]]
student = { text = "blond hair on a green background" }
hair = { text = "blond hair" }
ground = { text = "a green background" }
unseen = true
"""


class LinearNetwork(nn.Module):
    """E[x0 | x_t] of data N(W e_k, s), where k is the label: of the form of a product of Gaussians of one variance."""

    def __init__(self, schedule: NoiseSchedule, prediction: str, prompts: int = 3):
        super().__init__()
        self.mean = nn.Linear(prompts, MEANS.shape[1], bias=False, dtype=torch.float64)
        self.schedule, self.prediction = schedule, prediction_named(prediction)

    def forward(self, x_t: Tensor, t: Tensor, *, labels: Tensor) -> Tensor:
        alpha_t, sigma_t = (per_row(factor, x_t) for factor in self.schedule.alpha_sigma(t))
        chosen = nn.functional.one_hot(labels, self.mean.in_features).to(x_t)
        mean = self.mean(chosen)[..., None, None]
        x0 = mean + VARIANCE / (VARIANCE + (sigma_t / alpha_t) ** 2) * (x_t / alpha_t - mean)
        return output_from_x0(self.prediction, x0, x_t, alpha_t, sigma_t)


def labels(*values: int) -> Condition:
    """A condition of a row for each prompt."""
    return Condition(labels=torch.tensor(values))


def make_terms(prediction: str = "eps", schedule: NoiseSchedule = SCHEDULE, **settings) -> list[Term]:
    """A product of two Gaussians for each of three prompts: of the first and the second, and so on in a circle."""
    expert = gaussian_expert(MEANS.tolist(), [[VARIANCE] * 2] * len(MEANS), schedule, prediction)
    null = labels(NULL)
    return [
        Term(expert, labels(0, 1, 2), null, weight=1.5, **settings),
        Term(expert, labels(1, 2, 0), null, weight=0.75, **settings),
    ]


def expected_means() -> Tensor:
    """Means of these products, a row for each prompt: m = μ_∅ + Σ w (μ − μ_∅), all variances being equal."""
    first, second, null = MEANS[[0, 1, 2]], MEANS[[1, 2, 0]], MEANS[NULL]
    return null + 1.5 * (first - null) + 0.75 * (second - null)


def make_student(prediction: str = "eps", schedule: NoiseSchedule = SCHEDULE) -> Expert:
    """A student that can be the product, and isn't."""
    torch.manual_seed(5)
    network = LinearNetwork(schedule, prediction)
    named = {"image_size": 1, "channels": MEANS.shape[1], "clamp_x0": False, "name": "student"}
    return Expert(network, schedule, network.prediction, **named)


def make_config(steps: int = 12, **sections) -> DistilConfig:
    """A short run; `trajectories` and others replace sections."""
    given = {
        "optimizer": LearningConfig(steps=steps, batch_size=4, learning_rate=2e-2, autocast=False),
        "trajectories": TrajectoryConfig(2, 4, eta=1.0, batches=2, own_from=0.0),
        "report": LogsConfig(every=5, held_out_every=4, held_out=3),
    }
    return DistilConfig(name="tiny", rank=2, **(given | sections))


def make_deadly_terms(call: int) -> list[Term]:
    """As `make_terms`, of a network that kills the process when it is called for the `call`-th time."""
    terms, calls = make_terms(), 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    terms[0].expert.network.register_forward_pre_hook(count)
    return terms


def main(folder: Path, call: int) -> None:
    torch.set_num_threads(1)
    resume = (folder / "state.pt").exists()
    config = make_config(steps=120)
    network = distil_product(make_deadly_terms(call), make_student(), labels(0, 1, 2), folder, config, resume=resume)
    save_lora(folder / "tiny.safetensors", network, {})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

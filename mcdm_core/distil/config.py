"""The configuration of a distillation."""

from dataclasses import dataclass
from typing import Annotated

from ..diffusion.prediction import PREDICTIONS
from ..system.fields import Between
from ..training.config import MOST_RANK, DescentConfig, LogConfig


@dataclass(frozen=True)
class LearningConfig(DescentConfig):
    """How the student learns; see `DescentConfig`. A batch is as many trajectories as rows of a step.

    Attributes:
        prompt_noise: Largest noise on the embeddings that the student is given while it learns, in standard deviations
            of its prompts; so that it learns what lies between them, and obeys prompts that it was not shown.
    """

    steps: Annotated[int, Between(0)] = 800
    batch_size: Annotated[int, Between(1, 4096)] = 16
    learning_rate: Annotated[float, Between(0)] = 2e-3
    warmup: Annotated[int, Between(0)] = 20
    decay_from: Annotated[float, Between(0, 1)] = 0.5
    ema: Annotated[float, Between(0, 1)] = 0.99
    prompt_noise: Annotated[float, Between(0)] = 0.0


@dataclass(frozen=True)
class TrajectoryConfig:
    """The trajectories along which the product is evaluated.

    Attributes:
        fewest_steps: Least number of steps of a trajectory; each batch of them draws its own number.
        most_steps: Largest number.
        eta: Largest η of DDIM; each batch draws its own from 0 to it.
        own: Share of batches that the student walks, so that it learns to mend what itself got wrong.
        own_from: Share of the run after which it walks any.
        batches: Batches of trajectories that the buffer holds at a time. Rows of all of them, at all levels, are mixed.
        uses: How often the student sees each row before the buffer is filled anew.
    """

    fewest_steps: Annotated[int, Between(1, 1000)] = 5
    most_steps: Annotated[int, Between(1, 1000)] = 25
    eta: Annotated[float, Between(0, 1)] = 0.0
    own: Annotated[float, Between(0, 1)] = 0.5
    own_from: Annotated[float, Between(0, 1)] = 0.5
    batches: Annotated[int, Between(1, 1024)] = 4
    uses: Annotated[int, Between(1, 1024)] = 1

    def __post_init__(self) -> None:
        if self.most_steps < self.fewest_steps:
            raise ValueError(
                f"Expected most_steps of trajectories of {self.fewest_steps} (fewest_steps) or more and got "
                f"{self.most_steps}; raise it, or lower fewest_steps."
            )


@dataclass(frozen=True)
class LossConfig:
    """What is compared; see `Loss`.

    Attributes:
        prediction: "x0", "eps", "v" or "flow"; empty for what the student's network predicts.
        most: Largest weight that a squared error of x0 has at any noise level.
    """

    prediction: str = ""
    most: Annotated[float, Between(1e-6)] = 5.0

    def __post_init__(self) -> None:
        if self.prediction and self.prediction not in PREDICTIONS:
            raise ValueError(
                f"Expected a loss in {', '.join(PREDICTIONS)} and got {self.prediction!r}; correct prediction of the "
                "loss, or leave it out."
            )


@dataclass(frozen=True)
class LogsConfig(LogConfig):
    """Logs; see `LogConfig`.

    `held_out` counts trajectories, of prompts that are trained on and again of unseen ones; `samples` pictures of each,
    the product's beside the student's.
    """

    every: Annotated[int, Between(1)] = 25
    held_out_every: Annotated[int, Between(0)] = 100
    held_out: Annotated[int, Between(1)] = 8


@dataclass(frozen=True)
class DistilConfig:
    """One distillation.

    Attributes:
        name: Name of the run.
        rank: Rank of the LoRA's changes.
        weight: The cfg at which the student is asked while it learns, and is meant to be used. At 1 that is one row a
            step, without a negative prompt; elsewhere two, and a negative prompt keeps its effect.
        loss: What is compared.
        trajectories: Where the product is evaluated.
        optimizer: How the student learns.
        report: Logs.
        teacher: Fingerprint of the product, which `distil_product` sets: a run goes on with no other.
        student: Fingerprint of the student, likewise.
    """

    name: str = "distilled"
    rank: Annotated[int, Between(1, MOST_RANK)] = 16
    weight: Annotated[float, Between(1e-6)] = 1.0
    loss: LossConfig = LossConfig()
    trajectories: TrajectoryConfig = TrajectoryConfig()
    optimizer: LearningConfig = LearningConfig()
    report: LogsConfig = LogsConfig()
    teacher: str = ""
    student: str = ""

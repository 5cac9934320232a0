"""How far the student is from the product."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion.prediction import Prediction, prediction_named
from ..diffusion.schedule import NoiseSchedule, per_row
from ..expert.expert import Expert
from .config import LossConfig


@dataclass(frozen=True)
class Loss:
    """Squared error of the student's prediction, with x_t fixed.

    Whatever a network predicts is linear in x0 there, so the squared error of the prediction is that of x0 times a
    weight of the noise level: 1 in x0, 1/σ² in ε, 1 + 1/σ² in v on a schedule that preserves variance. In ε, errors at
    high noise hardly count; in x0, those of a network that predicts ε are scaled by σ², 213 at σ = 14.6. Weights are
    bounded, since they grow without limit as noise ends (Hang et al., "Efficient Diffusion Training via Min-SNR
    Weighting Strategy", 2023).

    Attributes:
        prediction: What is compared.
        schedule: The student's noise schedule.
        most: Largest weight.
    """

    prediction: Prediction
    schedule: NoiseSchedule
    most: float

    @classmethod
    def of(cls, config: LossConfig, student: Expert) -> "Loss":
        """The configured loss of a student."""
        prediction = prediction_named(config.prediction) if config.prediction else student.prediction
        return cls(prediction, student.schedule, config.most)

    def weight(self, sigma: Tensor) -> Tensor:
        """Weight of a squared error of x0 at noise levels σ > 0, of their shape."""
        sigma = sigma.double()
        alpha_t = self.schedule.alpha(sigma)
        unit = self.prediction.target(torch.ones_like(sigma), -1 / sigma, alpha_t, alpha_t * sigma)
        return unit.square().clamp(max=self.most)

    def __call__(self, student: Tensor, teacher: Tensor, sigma: Tensor) -> Tensor:
        """Mean over rows and values.

        Args:
            student: x0 that the student predicts, shape (B, …).
            teacher: x0 that the product predicts, shape (B, …).
            sigma: Noise levels, shape (B,).
        """
        weight = per_row(self.weight(sigma.cpu()), student)
        return (weight * (student - teacher.to(student)).square()).mean()

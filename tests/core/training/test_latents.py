"""Latents of a VAE in place of pictures."""

import numpy as np
import torch

from mcdm_core import Condition, UNet, prediction_named
from mcdm_core.training.config import DataConfig, ReportConfig, TrainingConfig
from mcdm_core.training.data.sources import PictureSet
from mcdm_core.training.expert.held_out import HeldOutReport
from mcdm_core.training.expert.objective import Objective, trained_schedule

from ...support.small_experts import LATENT_NETWORK

REPORT = ReportConfig(held_out=2, samples=2, sample_steps=2)


def test_latents_are_sampled_without_a_clamp(tmp_path):
    network = UNet(LATENT_NETWORK)
    torch.nn.init.zeros_(network.out[-1].weight)
    torch.nn.init.constant_(network.out[-1].bias, -3.0)  # v everywhere, so that x0 is about 3 where there is noise only
    settings = TrainingConfig("start", LATENT_NETWORK, DataConfig("folder"), report=REPORT, image_size=32)
    objective = Objective(trained_schedule("cosine"), prediction_named("v"))
    source, decoded = PictureSet(torch.randn(4, 4, 4, 4).half()), []

    def decode(latents):
        decoded.append(latents)
        return torch.zeros(len(latents), 3, 32, 32)

    HeldOutReport(settings, source, objective, tmp_path, decode).write(network, 1)
    samples, x0 = decoded
    assert samples.shape == x0.shape
    assert samples.abs().max() > 1.5


def test_conditions_belong_to_the_rows_that_were_drawn():
    latents = torch.arange(5).half().view(5, 1, 1, 1)
    source = PictureSet(latents, lambda modality, rows, rng: Condition(labels=torch.from_numpy(rows)))
    x0, condition = source.batch("class", 8, np.random.default_rng(0))
    assert x0.dtype == torch.float32
    assert torch.equal(x0.flatten().long(), condition.labels)
    assert source.batch(None, 2, np.random.default_rng(0))[1].rows is None

"""Errors of experts' predictions of noised held-out pictures, which don't depend on a sampler."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcdm_core.product.denoisers.denoiser import ProductDenoiser

from .config import Setting
from .drawing import RULES, start_noise, terms_of
from .held_out import HeldOut, as_floats, is_one_picture
from .jobs import batches_of

PREDICTIONS = "predictions"
SIGMAS = (20.0, 5.0, 2.0, 1.0, 0.5, 0.2)  # noise levels; pictures are in −1…1, latents of deviation 1


def measure_predictions(
    setting: Setting, experts: Mapping[str, Path], held_out: HeldOut, count: int
) -> dict[str, np.ndarray]:
    """Error of the predicted x0 of the first pictures at several noise levels.

    Args:
        setting: The experts, and the rule that combines them.
        experts: Name → file, of LoRAs as well.
        held_out: The pictures.
        count: Number of pictures.

    Returns:
        "x0 error at σ = …" → root mean square over the values of pictures, in −1…1, or of latents, (count,); empty for
        GANs, and where conditions come from several pictures.
    """
    if setting.rule == "gan" or not is_one_picture(setting):
        return {}
    errors = torch.cat([_errors(setting, experts, held_out, batch) for batch in batches_of(count)])
    return {f"x0 error at σ = {sigma:g}": column.numpy() for sigma, column in zip(SIGMAS, errors.T, strict=True)}


@torch.inference_mode()
def _errors(setting: Setting, experts: Mapping[str, Path], held_out: HeldOut, indices: range) -> Tensor:
    """Root mean square errors, (B, levels)."""
    terms = terms_of(setting, experts, held_out, indices)
    denoiser = ProductDenoiser(terms, rule=RULES[setting.rule])
    pictures = as_floats(held_out.images[indices.start : indices.stop]).permute(0, 3, 1, 2) * 2 - 1
    samples = terms[0].expert.encode(pictures)
    noise = start_noise(terms[0].expert, indices)
    errors = []
    for sigma in SIGMAS:
        with torch.autocast("cpu", torch.bfloat16, enabled=setting.autocast):
            predicted = denoiser(samples + sigma * noise, sigma)
        errors.append((predicted - samples).square().mean(dim=(1, 2, 3)).sqrt())
    return torch.stack(errors, dim=1)

"""Unite and Conquer in plain torch: diffusion models that were trained apart, combined while sampling.

The method is Nair, Bandara & Patel's (CVPR 2023); `combined_epsilon` is its rule, `sample_product` a whole run.
"""

from .checkpoints import ExpertMetadata, Overrides, convert_expert, load_expert, read_metadata, save_expert, with_lora
from .diffusion.prediction import PREDICTIONS, prediction_named
from .diffusion.respacing import space_timesteps
from .diffusion.schedule import Flow, Schedule, align_noise_level
from .expert import Condition, Expert
from .networks import UNet, UNetConfig
from .product.denoisers.denoiser import ProductDenoiser
from .product.methods.passes import Passes
from .product.rules.coefficients import normalize_reliabilities
from .product.rules.eq10 import EQ10, combined_epsilon
from .product.rules.own_null import OWN_NULL, own_null_epsilon
from .product.terms.term import Term
from .sampling import (
    SAMPLERS,
    sample_ddim,
    sample_ddpm,
    sample_ddpm_learned,
    sample_logic,
    sample_product,
    sigmas_for,
)
from .sampling.operations import Logic

__all__ = [
    "EQ10",
    "OWN_NULL",
    "PREDICTIONS",
    "SAMPLERS",
    "Condition",
    "Expert",
    "ExpertMetadata",
    "Flow",
    "Logic",
    "Overrides",
    "Passes",
    "ProductDenoiser",
    "Schedule",
    "Term",
    "UNet",
    "UNetConfig",
    "align_noise_level",
    "combined_epsilon",
    "convert_expert",
    "load_expert",
    "normalize_reliabilities",
    "own_null_epsilon",
    "prediction_named",
    "read_metadata",
    "sample_ddim",
    "sample_ddpm",
    "sample_ddpm_learned",
    "sample_logic",
    "sample_product",
    "save_expert",
    "sigmas_for",
    "space_timesteps",
    "with_lora",
]

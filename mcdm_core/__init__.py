"""Unite and Conquer in plain torch: diffusion models that were trained apart, combined while sampling.

The method is Nair, Bandara & Patel's (CVPR 2023); `combined_epsilon` is its rule, `sample_product` a whole run.
"""

from .checkpoints import ExpertMetadata, convert_expert, load_expert, read_metadata, save_expert
from .coefficients import normalize_reliabilities
from .condition import Condition
from .denoising import OwnNullDenoiser, ProductDenoiser
from .experts import Expert
from .networks import UNet, UNetConfig
from .own_null import own_null_epsilon
from .prediction import PREDICTIONS, prediction_named
from .product import combined_epsilon
from .recognition import Overrides
from .respacing import Respacing, space_timesteps
from .sampling import sample_ddim, sample_ddpm, sample_ddpm_learned, sample_product, sigmas_for
from .schedule import Flow, Schedule, align_noise_level
from .terms import Term

__all__ = [
    "PREDICTIONS",
    "Condition",
    "Expert",
    "ExpertMetadata",
    "Flow",
    "Overrides",
    "OwnNullDenoiser",
    "ProductDenoiser",
    "Respacing",
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
    "sample_product",
    "save_expert",
    "sigmas_for",
    "space_timesteps",
]

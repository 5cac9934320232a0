"""Unite and Conquer in plain torch: diffusion models that were trained apart, combined while sampling (Nair, Bandara & Patel, 2023)."""

from .checkpoints import ExpertMetadata, load_expert, read_metadata, save_expert
from .condition import Condition
from .experts import Expert
from .networks import UNet, UNetConfig
from .prediction import PREDICTIONS, prediction_named
from .respacing import Respacing, space_timesteps
from .schedule import Flow, Schedule, align_noise_level

__all__ = [
    "PREDICTIONS",
    "Condition",
    "Expert",
    "ExpertMetadata",
    "Flow",
    "Respacing",
    "Schedule",
    "UNet",
    "UNetConfig",
    "align_noise_level",
    "load_expert",
    "prediction_named",
    "read_metadata",
    "save_expert",
    "space_timesteps",
]

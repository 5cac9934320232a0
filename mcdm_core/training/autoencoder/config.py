"""Configuration of a VAE's training, read from a TOML file."""

from dataclasses import dataclass, field
from pathlib import Path

from ...networks.autoencoder import DOWNSCALE, AutoencoderConfig
from ..config import DataConfig, OptimizerConfig, ReportConfig, build_sections, read_toml


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the loss: differences between a picture and its reconstruction.

    Attributes:
        crop: Side of the square cut out of each picture, in pixels.
        noise: Deviation of the noise on a latent, whose own is 1: sampled latents are never exact either.
        absolute: Weight of mean absolute differences of colours, which are in −1…1.
        squares: Weight of mean squared differences.
        steps: Weight of mean absolute differences between steps from a pixel to its neighbours: edges.
        spread: Weight of the latents' distance from mean 0 and deviation 1 per channel, while the encoder learns.
        encoder_until: Fraction of the run after which the averaged encoder is frozen and only the decoder is trained.
            Experts can train on the latents from then on, and steps cost a third less.
    """

    crop: int = 128
    noise: float = 0.05
    absolute: float = 1.0
    squares: float = 4.0
    steps: float = 1.0
    spread: float = 0.1
    encoder_until: float = 0.3


@dataclass(frozen=True)
class AutoencoderTrainingConfig:
    """One run.

    Attributes:
        name: Name of the run's folder and of the file.
        autoencoder: Architecture.
        data: Pictures, without conditions.
        objective: Loss.
        optimizer: As for experts, except that there is no condition to drop, and inner weights always train by Muon.
        report: As for experts; `held_out` and `samples` count pictures of each kind.
        image_size: Side of the pictures, in pixels.
        start: File of a VAE, relative to the configuration, whose decoder is trained further while its encoder, and so
            every latent, stays as it is; None for random weights.
        card: Licence, attribution and other entries of the file's card.
    """

    name: str
    autoencoder: AutoencoderConfig
    data: DataConfig
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    image_size: int = 256
    start: str | None = None
    card: dict[str, str] = field(default_factory=dict)


def load_autoencoder_config(path: Path) -> AutoencoderTrainingConfig:
    """Read a configuration that has a section `[autoencoder]`.

    Raises:
        ValueError: The file is no TOML, a name in it is unknown or missing, a value is of another type, or its parts
            contradict each other.
    """
    config: AutoencoderTrainingConfig = build_sections(AutoencoderTrainingConfig, read_toml(path), path.name)
    crop, size = config.objective.crop, config.image_size
    if crop % DOWNSCALE or size % DOWNSCALE or not 0 < crop <= size:
        raise ValueError(
            f"Pictures and what is cut out of them have sides of a multiple of {DOWNSCALE} pixels, and image_size = "
            f"{size} and crop = {crop}; change them, the crop to no more than the picture."
        )
    if not 0 < config.objective.encoder_until < 1:
        raise ValueError(
            "The decoder learns on when the encoder stays as it is, for some fraction of the run, and encoder_until = "
            f"{config.objective.encoder_until}; set it between 0 and 1."
        )
    return config

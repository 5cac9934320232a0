"""Configuration of a GAN's training, read from a TOML file."""

from dataclasses import dataclass, field
from pathlib import Path

from mcdm_core.training.config import DataConfig, OptimizerConfig, ReportConfig, build_sections, read_toml
from mcdm_core.training.expert.checks import check_trained

from ..data.faces import IMAGE_SIZE, MAPS
from ..training.sets import check_sets
from .generator import GeneratorConfig

MAX_SCALES = 4  # 64 pixels, halved three times and then by three strided convolutions, leave one


@dataclass(frozen=True)
class GanConfig:
    """Both networks and the balance between them.

    Attributes:
        generator: Its architecture.
        discriminator_width: Channels of the discriminator's first layer.
        scales: Sizes at which the discriminator sees pictures, each half the one before.
        discriminator_rate: Its learning rate, as a multiple of the generator's; SPADE's is 4.
        matching: Weight of feature matching beside the adversarial loss; pix2pixHD's and SPADE's is 10.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator_width: int = 32
    scales: int = 2
    discriminator_rate: float = 4.0
    matching: float = 10.0


@dataclass(frozen=True)
class GanTrainingConfig:
    """One run.

    Attributes:
        name: Name of the run's folder and of the generator's file.
        gan: Networks.
        data: Drawn faces with maps, as for experts.
        optimizer: As for experts. The rate is the generator's; rows that drop their condition have black maps.
        report: As for experts, but `sample_steps` and `weight` are not used.
        card: Licence, attribution and other entries of the generator's card.
    """

    name: str
    gan: GanConfig
    data: DataConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    card: dict[str, str] = field(default_factory=dict)


def load_gan_config(path: Path) -> GanTrainingConfig:
    """Read a configuration that has a `[gan]` section.

    Raises:
        ValueError: The file is no TOML, a name in it is unknown or missing, a value is of another type, or its parts
            don't fit each other.
    """
    config: GanTrainingConfig = build_sections(GanTrainingConfig, read_toml(path), path.name)
    data, generator = config.data, config.gan.generator
    if data.kind != "faces" or data.modalities != MAPS:
        raise ValueError(
            f"A GAN is trained on the maps {list(MAPS)} of drawn faces, in this order, and [data] has kind "
            f"{data.kind!r} and modalities {list(data.modalities)}; correct them."
        )
    check_trained(data)
    check_sets(data, config.report.held_out)
    if len(MAPS) != generator.map_channels:
        raise ValueError(
            f"The modalities {list(MAPS)} need {len(MAPS)} map channels and [gan.generator] has "
            f"{generator.map_channels}; set map_channels = {len(MAPS)}."
        )
    if generator.image_size != IMAGE_SIZE:
        raise ValueError(
            f"Faces are drawn at {IMAGE_SIZE} pixels and this generator makes {generator.image_size}; change patch or "
            "the number of channels, each of which doubles them."
        )
    if config.gan.discriminator_width < 1 or not 1 <= config.gan.scales <= MAX_SCALES:
        raise ValueError(
            f"A discriminator is at least 1 channel wide and sees 1 to {MAX_SCALES} scales, but [gan] has "
            f"discriminator_width = {config.gan.discriminator_width} and scales = {config.gan.scales}; correct them."
        )
    return config

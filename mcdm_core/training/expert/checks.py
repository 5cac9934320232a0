"""Refuses configurations that could not be trained, before anything is drawn or read."""

from ...diffusion.prediction import prediction_named
from ...networks.autoencoder import DOWNSCALE
from ..config import DataConfig, TrainingConfig
from ..data.kind import DataKind
from .objective import trained_schedule


def check_config(config: TrainingConfig, kind: DataKind) -> None:
    """Check that modalities, data and network fit each other.

    Args:
        config: The run.
        kind: The kind of its data.

    Raises:
        ValueError: They don't; one sentence says what to change.
    """
    config.network.check("correct it")
    prediction_named(config.prediction)
    _check_report(config)
    _check_modalities(config.data.modalities)
    check_trained(config.data)
    _check_named(config, kind.attributes)
    _check_adapter(config)
    if config.vae is None:
        kind.check(config)
        _check_pixel_network(config)
        _check_conditions(config, len(kind.classes), channels_per_map=1)
    else:
        kind.check_latents(config)
        _check_latent_network(config)
        _check_conditions(config, len(kind.classes), channels_per_map=DOWNSCALE**2)


def _check_report(config: TrainingConfig) -> None:
    """Check that samples can be drawn in so many steps."""
    steps = len(trained_schedule(config.schedule))
    if config.report.samples and config.report.sample_steps > steps:
        raise ValueError(
            f"Samples of [report] take at most the {steps} steps of the schedule, and sample_steps is "
            f"{config.report.sample_steps}; lower it."
        )


def _check_latent_network(config: TrainingConfig) -> None:
    """Check a network that makes latents."""
    network = config.network
    if network.in_channels != network.out_channels or network.patch != 1:
        raise ValueError(
            "A network of latents has as many channels out as in and a patch of 1, and [network] has in_channels = "
            f"{network.in_channels}, out_channels = {network.out_channels} and patch = {network.patch}; correct them."
        )
    multiple = DOWNSCALE * 2 ** (len(network.channel_mult) - 1)
    if config.image_size % multiple:
        raise ValueError(
            f"A VAE and this network halve a picture down to a {multiple}th, and image_size = {config.image_size} is "
            f"no multiple of {multiple}; change image_size or channel_mult."
        )


def _check_named(config: TrainingConfig, attributes: tuple[str, ...]) -> None:
    """Check the attributes that captions written for pictures are to name."""
    data = config.data
    if data.named and ("text" not in data.modalities or config.vae is None):
        raise ValueError(
            "Captions are written for networks of latents that read text, and the modalities are "
            f'{list(data.modalities)} and vae is {config.vae}; set modalities = ["text"] and vae, or remove named.'
        )
    if unknown := [name for name in data.named if name not in attributes]:
        raise ValueError(
            f"Captions of data of kind {data.kind!r} name {', '.join(attributes) or 'nothing'}, and not "
            f"{unknown[0]!r}; correct named, or remove it."
        )


def _check_adapter(config: TrainingConfig) -> None:
    """Check the configuration of a LoRA."""
    if config.adapter is None:
        return
    if not config.start:
        raise ValueError("A LoRA changes an expert, and none is given; name the expert's file as start.")
    if config.optimizer.muon:
        raise ValueError("The factors of a LoRA are trained by AdamW; remove muon from [optimizer].")


def _check_modalities(modalities: tuple[str, ...]) -> None:
    if len(set(modalities)) < len(modalities):
        raise ValueError(f"Expected each modality once and got {list(modalities)}; remove the repetition.")
    if "text" in modalities and len(modalities) > 1:
        raise ValueError(
            f"A network that reads text reads nothing else here, and the modalities are {list(modalities)}; train one "
            "expert for text and one for the rest, and unite them."
        )


def check_trained(data: DataConfig) -> None:
    """Check that the `trained` ones are among the modalities.

    Raises:
        ValueError: It isn't.
    """
    if strangers := [name for name in data.trained if name not in data.modalities]:
        raise ValueError(
            f"Only what is among the modalities can be trained, and {strangers[0]!r} isn't; add it to modalities, or "
            "remove it from trained."
        )


def _check_pixel_network(config: TrainingConfig) -> None:
    """Check a network that makes pictures."""
    network = config.network
    if (network.in_channels, network.out_channels) != (3, 3):
        raise ValueError(
            f"Pictures have 3 channels and the variance is not learned, but [network] has in_channels = "
            f"{network.in_channels} and out_channels = {network.out_channels}; set both to 3."
        )
    multiple = network.patch * 2 ** (len(network.channel_mult) - 1)
    if config.image_size % multiple:
        raise ValueError(
            f"This network halves its picture down to a {multiple}th, and image_size = {config.image_size} is no "
            f"multiple of {multiple}; change image_size, patch or channel_mult."
        )


def _check_conditions(config: TrainingConfig, known_classes: int, channels_per_map: int) -> None:
    """Check that a network has the inputs for its modalities."""
    network, modalities = config.network, config.data.modalities
    needed = channels_per_map * len([name for name in modalities if name not in ("text", "class")])
    if network.map_channels != needed:
        raise ValueError(
            f"The modalities {list(modalities)} need {needed} map channels and [network] has {network.map_channels}; "
            f"set map_channels = {needed}."
        )
    if (network.pooled_dim is not None) != ("text" in modalities):
        remedy = "add it, the length of the dual encoder's embedding" if "text" in modalities else "remove it"
        raise ValueError(f"The modalities are {list(modalities)} and pooled_dim is {network.pooled_dim}; {remedy}.")
    classes = known_classes if "class" in modalities else None
    if network.num_classes != classes:
        remedy = "remove num_classes" if classes is None else f"set num_classes = {classes}"
        raise ValueError(f"The modalities are {list(modalities)} and num_classes is {network.num_classes}; {remedy}.")
    if network.film_dim is not None:
        raise ValueError("film_dim belongs to networks that are not trained here; remove it.")

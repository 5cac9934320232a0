"""The description in an expert's file."""

import json
from dataclasses import asdict, dataclass, field

from ..conditions import check_condition
from ..diffusion.prediction import prediction_named
from ..diffusion.schedule import Schedule
from ..networks import UNetConfig
from ..networks.autoencoder import DOWNSCALE
from ..system.fields import Line, PictureSize, Word, check_fields, shown
from .json_text import parse_json

FORMAT = 1  # of experts that make pictures
LATENT_FORMAT = 2  # of experts that make latents
METADATA_KEY = "mcdm"  # of the description in a file's header
_MAX_DEPTH = 32  # levels of its JSON, including a free card


@dataclass(frozen=True)
class ExpertMetadata:
    """Everything in an expert's file but the tensors.

    Attributes:
        name: Short name, shown in messages.
        network: Architecture.
        image_size: Height and width in pixels.
        condition: What drives the expert: {"kind": "map", "map": "hair"}, {"kind": "sketch"} or {"kind": "text", …}.
        schedule: Name for `Schedule.named`.
        prediction: Key of `PREDICTIONS`.
        card: Model card: data, licence, steps, measured quality; free.
        vae: `encoder_key` of the VAE whose latents the expert makes; None where it makes pictures.

    Raises:
        ValueError: If the schedule or the prediction type is unknown.
    """

    name: Line
    network: UNetConfig
    image_size: PictureSize
    condition: dict
    schedule: Word = "cosine"
    prediction: Word = "v"
    card: dict = field(default_factory=dict)
    vae: Word | None = None

    def __post_init__(self) -> None:
        Schedule.named(self.schedule)
        prediction_named(self.prediction)

    def to_dict(self) -> dict:
        """Plain values, with the format's number."""
        return {"format": FORMAT if self.vae is None else LATENT_FORMAT, **asdict(self)}

    @property
    def downscale(self) -> int:
        """Side of a picture divided by that of its sample."""
        return 1 if self.vae is None else DOWNSCALE

    def to_json(self) -> str:
        """Inverse of `from_json`."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "ExpertMetadata":
        """Read the description.

        Raises:
            ValueError: If it is not JSON, is of a newer format, or a field is missing or not as declared.
        """
        try:
            values = parse_json(text, _MAX_DEPTH)
        except ValueError as problem:
            raise ValueError(f"it {problem}, and not a JSON object; export the expert again.") from None
        if not isinstance(values, dict) or "format" not in values:
            raise ValueError("it is not a JSON object with a format number; export the expert again.")
        number = values.pop("format")
        if type(number) is not int or number not in (FORMAT, LATENT_FORMAT):
            raise ValueError(
                f"it is of format {shown(number)} and this version reads the formats {FORMAT} and {LATENT_FORMAT}; "
                "update the pack."
            )
        if "network" in values:
            values["network"] = UNetConfig.from_dict(values["network"])
        check_fields(cls, values, "the description")
        return cls(**values)

    def check(self) -> None:
        """Refuse fields that contradict each other.

        Raises:
            ValueError: Some do; the message names them.
        """
        network = self.network
        network.check()
        channels = network.in_channels
        if network.out_channels not in (channels, 2 * channels):
            raise ValueError(
                f"out_channels of the network should be {channels} or, with a learned variance, {2 * channels} and is "
                f"{network.out_channels}; export the expert again."
            )
        multiple = self.downscale * network.patch * 2 ** (len(network.channel_mult) - 1)
        if self.image_size % multiple:
            raise ValueError(
                f"image_size of the description should be a multiple of {multiple}, which the network halves down, and "
                f"is {self.image_size}; export the expert again."
            )
        check_condition(self.condition, network, self.downscale)

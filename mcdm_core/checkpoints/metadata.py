"""The description that an expert's file carries."""

import json
from dataclasses import asdict, dataclass, field

from ..diffusion.prediction import prediction_named
from ..diffusion.schedule import Schedule
from ..networks import UNetConfig
from ..networks.autoencoder import DOWNSCALE

FORMAT = 1
LATENT_FORMAT = 2  # of experts that make latents, which versions that know format 1 alone would take for pictures
METADATA_KEY = "mcdm"  # of the description in a file's header


@dataclass(frozen=True)
class ExpertMetadata:
    """Everything but the tensors.

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

    name: str
    network: UNetConfig
    image_size: int
    condition: dict
    schedule: str = "cosine"
    prediction: str = "v"
    card: dict = field(default_factory=dict)
    vae: str | None = None

    def __post_init__(self) -> None:
        Schedule.named(self.schedule)
        prediction_named(self.prediction)

    def to_dict(self) -> dict:
        """Plain values, with the number of the format."""
        values = asdict(self)
        if self.vae is None:
            del values["vae"]  # earlier versions don't know it
            return {"format": FORMAT, **values}
        return {"format": LATENT_FORMAT, **values}

    @property
    def downscale(self) -> int:
        """Pixels to a side of the expert's samples."""
        return 1 if self.vae is None else DOWNSCALE

    def to_json(self) -> str:
        """Inverse of `from_json`."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "ExpertMetadata":
        """Read the description.

        Raises:
            ValueError: If it is not JSON, is of a newer format, or lacks something.
        """
        try:
            values = json.loads(text)
            number = values.pop("format")
        except (ValueError, AttributeError, KeyError, TypeError):
            raise ValueError("it is not a JSON object with a format number; export the expert again.") from None
        if number not in (FORMAT, LATENT_FORMAT):
            raise ValueError(
                f"it is of format {number} and this version reads the formats {FORMAT} and {LATENT_FORMAT}; update the "
                "pack."
            )
        try:
            return cls(**{**values, "network": UNetConfig.from_dict(values["network"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"a field is missing or unknown ({error}); export the expert again.") from None

"""Checks of the conditions that an expert is given."""

from __future__ import annotations

from collections.abc import Sequence

from ....mcdm_core import Condition, UNetConfig
from ....mcdm_core.conditions import Encoder, EncoderKey

CONNECT_ENCODER = "connect an Encode … (Expert) node that has this expert's encoder"
ENLARGES = "enlarges a small picture", "connect Encode Low Resolution between its Encode … node and it"
"""What an expert does with a picture in its condition, and what to do where that has none; as `FILLS_IN`."""

FILLS_IN = "fills in a picture", "connect Encode Inpainting (Expert) between its Encode … node and it"


class LatentSizeError(ValueError):
    """The latent hasn't the size of the map in a condition.

    Args:
        sentence: The message for the user.
        expected: Width and height in pixels of the map.
        given: Width and height in pixels of the latent.
    """

    def __init__(self, sentence: str, expected: str = "", given: str = ""):
        super().__init__(sentence)
        self.expected = expected
        self.given = given


class ReadConditions:
    """The conditions that an expert reads, kept without its encoder, whose text model may be large.

    Attributes:
        key: Key of its encoder, see `Encoder.key`.
        nothing: Whether it reads no condition at all.

    Args:
        name: The expert's name.
        encoder: Its encoder.
        config: Its network.
    """

    def __init__(self, name: str, encoder: Encoder, config: UNetConfig):
        self.key = encoder.key
        self.nothing = encoder.kind == "none"
        self._name = name
        self._config = config
        self._inpaint = encoder.inpaint
        self._downscale = encoder.downscale

    def check(self, condition: Condition | None, made_for: EncoderKey | None, shape: Sequence[int]) -> Condition:
        """The condition, if the expert can use it.

        Args:
            condition: The condition in a CONDITIONING, None for one of other models.
            made_for: Key of the encoder that made it.
            shape: The shape of the latent, (B, C, H, W).

        Raises:
            LatentSizeError: If its map has another size than the latent.
            ValueError: If it was made for another expert, lacks the picture that this one needs, or has more rows than
                the latent.
        """
        driven = f"The expert {self._name} is driven by {self.key.driven_by} and got"
        if condition is None or made_for is None:
            raise ValueError(f"{driven} a conditioning without one; {CONNECT_ENCODER}.")
        if made_for != self.key:
            raise ValueError(
                f"{driven} a conditioning made for one driven by {self.key.describe(made_for)}; {CONNECT_ENCODER}."
            )
        self._check_pictures(condition)
        self._check_text(condition)
        self._check_size(condition, shape)
        return condition

    def _check_pictures(self, condition: Condition) -> None:
        lacks = self._config.low_res_channels and condition.low_res is None, self._inpaint and condition.maps is None
        for (works, remedy), lacking in zip((ENLARGES, FILLS_IN), lacks, strict=True):
            if lacking:
                raise ValueError(f"The expert {self._name} {works} and got a conditioning without one; {remedy}.")

    def _check_text(self, condition: Condition) -> None:
        """Check widths: ComfyUI's nodes may have mixed texts of several models, or nulls of several class experts."""
        config = self._config
        reads_tokens = config.context_dim is not None
        width = config.film_dim or config.pooled_dim or 4 * config.model_channels
        complete = condition.context is not None and condition.embedding is not None
        fits = all(
            value is None or value.shape[-1] == expected
            for value, expected in ((condition.embedding, width), (condition.context, config.context_dim))
        )
        if not fits or (reads_tokens and not complete):
            raise ValueError(
                f"The expert {self._name} got an embedding that is not as its encoder made it; average or combine only "
                "conditionings that were encoded for this expert, and take the negative from its encoder too."
            )

    def _check_size(self, condition: Condition, shape: Sequence[int]) -> None:
        batch = shape[0]
        if batch % (condition.rows or 1):
            raise ValueError(
                f"The expert {self._name} got a conditioning of {condition.rows} rows for a latent of {batch}, which "
                f"can't be shared out evenly; give it fewer, or set the latent's batch size to {condition.rows}."
            )
        if condition.maps is not None and tuple(condition.maps.shape[-2:]) != tuple(shape[-2:]):
            expected, given = map(self._in_pixels, (condition.maps.shape, shape))
            raise LatentSizeError(
                f"The expert {self._name} expects a latent of {expected} pixels, the size of its map, and got one of "
                f"{given}; connect Empty Latent (Expert), or scale the picture to {expected} before encoding it.",
                expected,
                given,
            )

    def _in_pixels(self, shape: Sequence[int]) -> str:
        """Width and height in pixels of a sample of this shape."""
        return f"{self._downscale * shape[-1]}×{self._downscale * shape[-2]}"

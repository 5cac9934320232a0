"""Base of the encoders, which turn a user's input into a `Condition`.

Every encoder has the methods `encode_text`, `encode_class`, `encode_map`, `encode_sketch`, `encode_low_res` and
`encode_inpaint`; those that its expert was not trained for raise a ValueError of one sentence. `encode` is the main one
of the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn

from torch import Tensor

from ..expert import Condition
from .description import Description, Fields
from .key import EncoderKey, Value
from .reading.maps import AUTO
from .reading.sketch import HIGH_THRESHOLD, LOW_THRESHOLD, SketchSource


class Encoder:
    """Encoder of an expert that takes no condition; the base of the others.

    Attributes:
        kind: Its name in an expert's file; see `registry`.
        driven_by: Its name for people: "a hair map", say. Different experts may have the same; see `key`.
        background: Value of black in the expert's maps and sketches; white is 1, and no map at all is 0.
        low_res: Height and width of the small picture that the expert enlarges, None if it enlarges none.
        inpaint: Whether the expert fills in masked parts of a picture.
        channels: Channels of the expert's samples.
        downscale: Side of a picture divided by that of its sample: 1 for pixels, 8 for latents of a VAE. Maps and
            sketches are read at the size of pictures and folded into channels of samples, by `pixel_unshuffle`.
        reads_maps: Whether its conditions have maps of the size of its samples, which a run's have to be.
        needs_more: Whether a picture to enlarge or to fill in must come with another condition, a class, say.
        wants_noise: Whether the expert follows its condition better with noise added at every step of sampling.
        own_tensors: Prefixes of the encoder's own tensors in an expert's file.
        shared_tensors: Names of the network's tensors that the encoder reads too.
        fields: Dataclass that declares the entries of a description beside "kind"; others are ignored.

    Args:
        image_size: The expert's height and width in pixels.
    """

    kind = "none"
    driven_by = "no prompt"
    background = 0.0
    low_res: int | None = None
    inpaint = False
    channels = 3
    downscale = 1
    reads_maps = False
    needs_more = False
    wants_noise = False
    own_tensors: tuple[str, ...] = ()
    shared_tensors: tuple[str, ...] = ()
    fields: type = Fields

    def __init__(self, image_size: int):
        self.image_size = image_size

    @classmethod
    def build(cls, given: Description) -> "Encoder":
        """The encoder that an expert's file describes, here by {"kind": "none"}.

        Encoders of maps and sketches also accept "background", those of classes and tokens "low_res", those of tokens
        "inpaint", each like the attribute.

        Raises:
            KeyError: If an entry of the description or a tensor is missing.
            TypeError: If an entry is unknown.
            ValueError: If the tensors differ from those the description needs.
        """
        return cls(given.image_size)

    @classmethod
    def network_fields(cls, spec: Mapping[str, Any], downscale: int) -> dict[str, Any]:
        """Fields that `UNetConfig` must have for a network to read conditions of this kind.

        Args:
            spec: Description whose entries were checked.
            downscale: See `Encoder`.

        Raises:
            ValueError: Two entries contradict each other.
        """
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.driven_by}, {self.image_size} px)"

    @property
    def sample_size(self) -> int:
        """Height and width of the expert's samples."""
        return self.image_size // self.downscale

    @cached_property
    def key(self) -> EncoderKey:
        """Identifies the meaning of this encoder's conditions: a condition fits all experts with an equal key.

        It holds map names, channels and the value of black; classes; the text encoder's words and weights; kinds of
        pictures; but not the size of pictures: a run compares a map's size with its latent.
        """
        return EncoderKey(self.driven_by, tuple(self._content().items()))

    def _content(self) -> dict[str, Value]:
        """`EncoderKey.content`; every kind that reads something overrides it."""
        return {"condition": self.kind}

    def null(self, batch: int = 1) -> Condition:
        """The null condition ∅ for `batch` rows."""
        return Condition()

    def null_like(self, condition: Condition) -> Condition:
        """The null for one of this encoder's conditions, with the same rows and fields, so that both share a batch."""
        return replace(self.null(condition.rows or 1), text_active=condition.text_active)

    def encode_text(self, text: str | Sequence[str]) -> Condition:
        """Condition from one caption or one per row.

        Raises:
            ValueError: If the expert is not driven by text, or its text encoder is missing or cannot be used.
        """
        self._refuse("text")

    def check_text(self) -> None:
        """Refuse a text without encoding one, as `encode_text` would.

        Raises:
            ValueError: As `encode_text`.
        """
        self._refuse("text")

    def encode_map(self, image: Tensor, kind: str = AUTO) -> Condition:
        """Condition from a segmentation map.

        Args:
            image: ComfyUI's IMAGE (B, H, W, C) with gray values or MASK (B, H, W); 0…1, resized as needed.
            kind: What the map shows: "hair", "face" (the skin; "skin" is the same), or "auto" for the expert's kind.

        Raises:
            ValueError: If the expert is not driven by this kind of map, or the image cannot be one (see `read_map`).
        """
        self._refuse("a segmentation map")

    def encode_sketch(
        self,
        image: Tensor,
        source: SketchSource | str = SketchSource.EDGES,
        low: float = LOW_THRESHOLD,
        high: float = HIGH_THRESHOLD,
    ) -> Condition:
        """Condition from a picture's edges or from a drawing.

        Args:
            image: ComfyUI's IMAGE (B, H, W, C) or MASK (B, H, W), 0…1, resized as needed.
            source: What the image is; a `SketchSource` or its value.
            low: Lower threshold of the edge finder.
            high: Upper threshold of the edge finder.

        Raises:
            ValueError: If the expert is not driven by sketches, or the image cannot be one (see `read_sketch`).
        """
        self._refuse("a sketch")

    def encode_class(self, index: int | Sequence[int]) -> Condition:
        """Condition from one class index or one per row.

        Raises:
            ValueError: If the expert is not driven by classes or has fewer, or if what is given is no index.
        """
        self._refuse("a class")

    def find_class(self, name: str) -> int:
        """Index of a class from its name, in any case, or from its index in digits.

        Raises:
            ValueError: If the expert is not driven by classes, or has none of this name or several.
        """
        self._refuse("a class")

    def encode_low_res(self, image: Tensor, condition: Condition | None = None) -> Condition:
        """Condition from a small picture that the expert is to enlarge.

        Args:
            image: ComfyUI's IMAGE (B, H, W, C), 0…1, resized as needed.
            condition: The expert's other condition: a text or class, say.

        Raises:
            ValueError: If the expert enlarges no pictures, or the image cannot be one (see `read_image`).
        """
        self._refuse("a small picture")

    def encode_inpaint(self, image: Tensor, mask: Tensor, condition: Condition | None = None) -> Condition:
        """Condition from a picture of which the expert is to fill in a part.

        Args:
            image: ComfyUI's IMAGE (B, H, W, C), 0…1, resized as needed.
            mask: ComfyUI's MASK (B, H, W), 1 where the picture is to be filled in.
            condition: The expert's other condition.

        Raises:
            ValueError: If the expert fills in no pictures, or image or mask cannot be one (see `read_image`).
        """
        self._refuse("a picture to fill in")

    def merge(self, first: Condition, second: Condition) -> Condition:
        """One condition that holds two of this encoder's, for a single row of the network.

        Args:
            first: One row, or B.
            second: One row, or B.

        Raises:
            ValueError: If the expert reads only one kind of condition, or both conditions are texts.
        """
        raise ValueError(
            f"This expert is driven by {self.driven_by} and reads one prompt at a time; give each prompt to an expert "
            "of its own."
        )

    def with_text(self, condition: Condition) -> Condition:
        """The condition with the text flag set, so that it can share a batch with texts for the same network.

        Raises:
            ValueError: If the expert does not read text beside other conditions.
        """
        raise ValueError(
            f"This expert is driven by {self.driven_by} and reads no text beside it; switch with_text off, or add a "
            "text expert."
        )

    def swapped(self) -> "Encoder":
        """The same encoder with its two maps in the other order, for experts that were trained in either.

        Raises:
            ValueError: If the expert does not read two maps in an order.
        """
        raise ValueError(
            f"This expert is driven by {self.driven_by} and doesn't read two maps; leave the order as it is."
        )

    def _refuse(self, given: str) -> NoReturn:
        remedy = "leave its prompt unconnected" if self.kind == "none" else f"give it {self.driven_by}"
        raise ValueError(
            f"This expert is driven by {self.driven_by}, not by {given}; {remedy} or load an expert that reads {given}."
        )

"""Values of a user that replace those of a file's header or those recognized from its tensors."""

from dataclasses import dataclass, replace

from ..metadata import ExpertMetadata


@dataclass(frozen=True)
class Overrides:
    """Values that replace those recognized; None leaves one as it is.

    Attributes:
        schedule: Name for `Schedule.named`.
        prediction: Key of `PREDICTIONS`.
        image_size: Height and width in pixels.
        num_heads: Attention heads at every level.
        num_head_channels: Channels per attention head, instead of `num_heads`.
        new_attention_order: See `AttentionBlock`.
        text_heads: Attention heads of GLIDE's text transformer.
        maps: Kinds of map in the order in which the face network reads them: ("face", "hair") as published.

    Raises:
        ValueError: If both `num_heads` and `num_head_channels` are given, or a size is not positive.
    """

    schedule: str | None = None
    prediction: str | None = None
    image_size: int | None = None
    num_heads: int | None = None
    num_head_channels: int | None = None
    new_attention_order: bool | None = None
    text_heads: int | None = None
    maps: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_heads is not None and self.num_head_channels is not None:
            raise ValueError("Expected a number of heads or of channels per head and got both; leave one out.")
        for name in ("image_size", "num_head_channels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Expected a positive {name.replace('_', ' ')} and got {value}; correct it.")

    def apply(self, metadata: ExpertMetadata) -> ExpertMetadata:
        """The description with these values in it.

        Raises:
            ValueError: If one of them is unknown or does not suit the expert.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        condition = dict(metadata.condition)
        if self.text_heads is not None:
            if "text_transformer" not in condition:
                raise ValueError(f"Expected no text_heads for {metadata.name}, which has no text transformer of GLIDE.")
            width = condition["text_transformer"]["width"]
            if self.text_heads < 1 or width % self.text_heads:
                raise ValueError(
                    f"Expected text_heads that divide {width} evenly and got {self.text_heads}; use others."
                )
            condition["text_transformer"] = {**condition["text_transformer"], "heads": given.pop("text_heads")}
        if self.maps is not None:
            if sorted(self.maps) != sorted(condition.get("maps", ())):
                raise ValueError(
                    f"Expected the maps {' and '.join(condition.get('maps', ['none']))} in some order for "
                    f"{metadata.name} and got {' and '.join(self.maps)}; correct the names."
                )
            condition["maps"] = list(given.pop("maps"))
        if self.image_size is not None and condition.get("low_res") is not None:
            condition["low_res"] = condition["low_res"] * self.image_size // metadata.image_size
        direct = {name: given.pop(name) for name in ("schedule", "prediction", "image_size") if name in given}
        if "num_heads" in given:
            given["num_head_channels"] = None
        network = replace(metadata.network, **given)
        if given:
            network.check("use others")
        return replace(metadata, network=network, condition=condition, **direct)

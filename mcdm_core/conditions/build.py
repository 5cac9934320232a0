"""From what a checkpoint says about its condition to an encoder."""

from torch import Tensor

from .encoders import Encoder, MapEncoder, MultiMapEncoder, SketchEncoder, TextEncoder
from .text import TextTower, TextTowerConfig


def build_encoder(
    condition_spec: dict, image_size: int, channels: int, text_state: dict[str, Tensor] | None = None
) -> Encoder:
    """Build the encoder of an expert.

    Args:
        condition_spec: What drives the expert: {"kind": "none"}, {"kind": "map", "map": "hair"},
            {"kind": "maps", "maps": ["hair", "skin"]}, {"kind": "sketch"} or {"kind": "text", "text_encoder": {…}}.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        text_state: Tensors of the text tower, where there is one.

    Returns:
        The encoder, ready to use.

    Raises:
        ValueError: If the description is incomplete or of an unknown kind, or the text tower's tensors don't fit it.
    """
    try:
        match condition_spec["kind"]:
            case "none":
                return Encoder(image_size, channels)
            case "map":
                return MapEncoder(condition_spec["map"], image_size, channels)
            case "maps":
                return MultiMapEncoder(condition_spec["maps"], image_size, channels)
            case "sketch":
                return SketchEncoder(image_size, channels)
            case "text":
                config = TextTowerConfig.from_dict(condition_spec["text_encoder"])
                return TextEncoder(_load_tower(config, text_state or {}), image_size, channels)
            case kind:
                raise ValueError(
                    f'This expert is driven by "{kind}", but this version knows only none, map, maps, sketch and text; '
                    "update the pack."
                )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"The expert's description of its condition is incomplete or has an unknown entry ({error}); "
            "export the expert again."
        ) from None


def _load_tower(config: TextTowerConfig, state: dict[str, Tensor]) -> TextTower:
    tower = TextTower(config)
    expected = tower.state_dict()
    wrong = sorted(
        {name for name in expected if name not in state or state[name].shape != expected[name].shape}
        | {name for name in state if name not in expected}
    )
    if wrong:
        raise ValueError(
            f"The text encoder's tensors should be those its description asks for, but {len(wrong)} are missing, "
            f"unexpected or of another shape ({', '.join(wrong[:3])}); download or export the expert again."
        )
    tower.load_state_dict(state)
    return tower

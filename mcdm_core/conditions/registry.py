"""From what a checkpoint says about its condition to an encoder."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..networks import TextTransformer, TextTransformerConfig
from ..networks.clip import ClipTextTower
from ..networks.text_tower import TextTower, TextTowerConfig
from .encoder import Encoder
from .encoders import MapEncoder, MultiMapEncoder, SketchEncoder, TextEncoder
from .published import ClassEncoder, FaceEncoder, GlideEncoder

CLASS_EMBEDDINGS = "label_emb.weight"

Config = TypeVar("Config")
Module = TypeVar("Module", bound=nn.Module)


def build_encoder(
    condition_spec: dict,
    image_size: int,
    channels: int,
    state: Mapping[str, Tensor] | None = None,
    load_text: Callable[[], ClipTextTower] | None = None,
) -> Encoder:
    """Build the encoder of an expert.

    Args:
        condition_spec: What drives the expert: {"kind": "none"}, {"kind": "map", "map": "hair"},
            {"kind": "maps", "maps": ["hair", "skin"]}, {"kind": "sketch"}, {"kind": "text", "text_encoder": {…}},
            {"kind": "class", "classes": ["fox", …]} (names are optional), {"kind": "tokens", "text_transformer": {…}}
            or {"kind": "face", "maps": ["face", "hair"], "map_channels": 6, "embedding": 512}. With "background" maps
            and sketches have another value than 0 where they are black.
        image_size: The expert's height and width in pixels.
        channels: Channels of the expert's samples.
        state: Tensors that the encoder works with: those of the text tower or transformer, or the class embeddings.
        load_text: Loads FaRL's text tower when the face network's encoder first needs it.

    Returns:
        The encoder, ready to use.

    Raises:
        ValueError: If the description is incomplete or of an unknown kind, or the text tower's tensors don't fit it.
    """
    state = state or {}
    low_res = condition_spec.get("low_res")
    background = condition_spec.get("background", 0.0)
    try:
        match condition_spec["kind"]:
            case "none":
                return Encoder(image_size, channels)
            case "map":
                return MapEncoder(condition_spec["map"], image_size, channels, background)
            case "maps":
                return MultiMapEncoder(condition_spec["maps"], image_size, channels, background=background)
            case "sketch":
                return SketchEncoder(image_size, channels, condition_spec.get("map_channels", 1), background)
            case "text":
                config = TextTowerConfig.from_dict(condition_spec["text_encoder"])
                tower = _filled(TextTower, config, state).float()  # stored in half precision, too coarse to embed in
                return TextEncoder(tower, image_size, channels)
            case "class":
                names = condition_spec.get("classes", ())
                return ClassEncoder(state[CLASS_EMBEDDINGS], image_size, channels, low_res, names)
            case "tokens":
                transformer = _filled(
                    TextTransformer, TextTransformerConfig(**condition_spec["text_transformer"]), state
                )
                return GlideEncoder(transformer, image_size, channels, low_res, condition_spec.get("inpaint", False))
            case "face":
                names = condition_spec["maps"]
                per_map = condition_spec["map_channels"] // len(names)
                embedding = condition_spec["embedding"]
                return FaceEncoder(names, image_size, embedding, channels, per_map, background, load_text)
            case kind:
                raise ValueError(
                    f'This expert is driven by "{kind}", but this version knows only none, map, maps, sketch, text, '
                    "class, tokens and face; update the pack."
                )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"The expert's description of its condition is incomplete or has an unknown entry ({error}); "
            "export the expert again."
        ) from None


def _filled(kind: Callable[[Config], Module], config: Config, state: Mapping[str, Tensor]) -> Module:
    """A text encoder that uses the given tensors themselves, not copies of them."""
    with torch.device("meta"):
        module = kind(config)
    expected = module.state_dict()
    wrong = sorted(
        {name for name in expected if name not in state or state[name].shape != expected[name].shape}
        | {name for name in state if name not in expected}
    )
    if wrong:
        raise ValueError(
            f"The text encoder's tensors should be those its description asks for, but {len(wrong)} are missing, "
            f"unexpected or of another shape ({', '.join(wrong[:3])}); download or export the expert again."
        )
    module.load_state_dict(state, assign=True)
    return module

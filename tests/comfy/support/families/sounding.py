"""Small LTXAV networks, which make a video and its sound, and their nested latents."""

from types import SimpleNamespace

import comfy.nested_tensor
import comfy.supported_models
import torch

from ..oracle.networks import fill
from ..places import OFFLOADED, placed

VIDEO, SOUND = (1, 128, 2, 2, 3), (1, 8, 5, 16)
_HEADS = {"attention_head_dim": 8, "num_attention_heads": 2}
_CONNECTOR = {"connector_num_layers": 1, **{f"connector_{name}": value for name, value in _HEADS.items()}}
_LTXAV = {
    "image_model": "ltxav",
    "num_layers": 1,
    "cross_attention_dim": 16,
    "caption_channels": 16,
    **_HEADS,
    **_CONNECTOR,
    **{f"audio_{name}": value for name, value in {**_HEADS, **_CONNECTOR, "cross_attention_dim": 16}.items()},
}


def sounding_expert(seed):
    """An expert on videos with sound, for the fixture `chain`."""
    config = comfy.supported_models.LTXAV(dict(_LTXAV))
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=OFFLOADED)
    fill(model.diffusion_model, seed)
    generator = torch.Generator().manual_seed(seed)
    tokens = [[[torch.randn(1, 6, 32, generator=generator), {"frame_rate": 25}]] for _ in range(2)]
    return SimpleNamespace(model=placed(model), condition=tokens[0], null=tokens[1])


def nested(*tensors):
    return comfy.nested_tensor.NestedTensor(tensors)


def random_latent(seed):
    """A nested latent of standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return nested(*(torch.randn(shape, generator=generator) for shape in (VIDEO, SOUND)))


def empty_latent():
    """The LATENT of a video and its sound, empty."""
    return {"samples": nested(torch.zeros(VIDEO), torch.zeros(SOUND))}

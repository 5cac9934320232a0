"""Text encoders of the published experts under ComfyUI's memory management."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ....mcdm_core.conditions import Encoder, FaceEncoder, GlideEncoder


class ManagedTextEncoder:
    """A text encoder that ComfyUI loads to its text encoder device at each call.

    It is loaded whole: ComfyUI can load in parts only networks of its own layers.

    Args:
        module: `TextTransformer` or `ClipTextTower`.
    """

    def __init__(self, module: nn.Module):
        self.config: Any = module.config
        self.patcher = ModelPatcher(
            module,
            load_device=comfy.model_management.text_encoder_device(),
            offload_device=comfy.model_management.text_encoder_offload_device(),
        )

    def __call__(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """The module's outputs, on ComfyUI's device for outputs of nodes."""
        return tuple(output.to(comfy.model_management.intermediate_device()) for output in self._loaded()(tokens, mask))

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts, see `ClipTextTower.encode`, on ComfyUI's device for outputs of nodes."""
        return self._loaded().encode(texts).to(comfy.model_management.intermediate_device())

    def _loaded(self) -> Any:
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        return self.patcher.model


def manage_text_encoder(encoder: Encoder) -> Encoder:
    """Give an expert's large text encoder, if it has one, to ComfyUI's memory management; returns the same encoder."""
    managed: Any = ManagedTextEncoder  # the core, which names the module's class, uses only the methods above
    if isinstance(encoder, GlideEncoder):
        encoder.transformer = managed(encoder.transformer)
    elif isinstance(encoder, FaceEncoder) and encoder.load_text is not None:
        load_text = encoder.load_text
        encoder.load_text = lambda: managed(load_text())
    return encoder

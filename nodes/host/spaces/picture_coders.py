"""ComfyUI's VAEs as maps between latents and pictures in the middle of a run, when they are loaded already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ..comfyui.latents import unframed


class PictureCoder:
    """A VAE with the latent format of a MODEL: from samples as networks see them to pictures, and back.

    ComfyUI's own `encode` and `decode` load the VAE, which may unload networks of the run.

    Args:
        vae: ComfyUI's VAE of pictures; those of single frames too.
        latent_format: Of the MODEL whose samples are coded.
    """

    def __init__(self, vae: Any, latent_format: Any):
        self.vae = vae
        self._format = latent_format
        self._has_frames = vae.latent_dim == 3

    @torch.no_grad()
    def decode(self, samples: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), values 0…1, of samples (B, C, h, w), on their device."""
        latents = self._format.process_out(self._framed(samples))
        decoded = self._in_turn(latents, self.vae.memory_used_decode, self.vae.first_stage_model.decode)
        pictures = self.vae.process_output(decoded.float())
        return unframed(pictures)[:, :3].to(samples.device, samples.dtype).clamp(0.0, 1.0)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Samples (B, C, h, w) of pictures (B, 3, H, W), values 0…1, on their device."""
        fitted = self.vae.vae_encode_crop_pixels(pictures.float().movedim(1, -1)).movedim(-1, 1)  # some take RGBA
        framed = self._framed(self.vae.process_input(fitted))
        latents = self._in_turn(framed, self.vae.memory_used_encode, self.vae.first_stage_model.encode).float()
        return unframed(self._format.process_in(latents)).to(pictures.device, pictures.dtype)

    def _in_turn(self, values: Tensor, memory: Callable[..., float], code: Callable[[Tensor], Tensor]) -> Tensor:
        """Code as many of a batch at once as ComfyUI would."""
        vae = self.vae
        needed = max(memory(values.shape, vae.vae_dtype), 1)
        at_once = max(int(vae.patcher.get_free_memory(vae.device) / needed), 1)
        parts = values.split(at_once)
        with comfy.model_management.cuda_device_context(vae.device):
            return torch.cat([code(part.to(vae.device, vae.vae_dtype)).to(values.device) for part in parts])

    def _framed(self, values: Tensor) -> Tensor:
        return values.unsqueeze(2) if self._has_frames else values

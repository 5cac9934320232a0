"""The latent spaces of a run's experts, of which most runs have one: which MODELs share one, and maps between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.taesd.taesd import TAESD
from torch import Tensor

from ....mcdm_core.product.spaces import JointSpaces, Space, size_like
from ..chain.expert_chain import Conds, Experts, WiredTerm
from ..comfyui.latents import without_time_axis
from ..files.expert_model import ExpertModel

_PATCHED = comfy.latent_formats.Flux2  # ComfyUI's format of latents that are cut into patches of two
AREA_UNIT = 8  # pixels that areas of ComfyUI, and boxes, are told in
STEP = 64  # pixels by which sides of pictures are divisible: 8 of a VAE, and 8 of the networks of checkpoints
MAPS_OF_TINY = 6 * 64  # values that a tiny VAE holds at once for each pixel; ComfyUI expects those of a large one, 2178


def format_of(patcher: ModelPatcher) -> Any:
    """ComfyUI's latent format of a MODEL's samples."""
    return patcher.get_model_object("latent_format")


def space_indices(experts: Experts) -> list[int]:
    """For each expert the index of its latent space, counted from 0 in the order of the chain."""
    firsts: list[WiredTerm] = []
    indices = []
    for expert in experts:
        index = next((i for i, first in enumerate(firsts) if _share_space(first, expert)), len(firsts))
        if index == len(firsts):
            firsts.append(expert)
        indices.append(index)
    return indices


def vaes_of(indices: Sequence[int], experts: Experts) -> dict[int, Any]:
    """The first VAE that an expert of each space has; of these `space_indices`."""
    members = [*zip(indices, experts, strict=True)]
    return {index: expert.vae for index, expert in reversed(members) if expert.vae is not None}


def _share_space(first: WiredTerm, second: WiredTerm) -> bool:
    """Whether two experts are of one latent space: the same numbers stand for the same picture."""
    one, other = format_of(first.model), format_of(second.model)
    if one.latent_channels != other.latent_channels or one.latent_dimensions != other.latent_dimensions:
        return False
    if getattr(one, "vae_key", None) != getattr(other, "vae_key", None):
        return False  # latents of different VAEs of this pack differ, though none of them are scaled
    probe = torch.linspace(-1.0, 1.0, one.latent_channels).reshape(1, -1, *[1] * one.latent_dimensions)
    if not torch.allclose(one.process_in(probe), other.process_in(probe), rtol=1e-4):
        return False
    networks = first.model.model, second.model.model
    if not all(isinstance(network, ExpertModel) and network.makes_pictures for network in networks):
        return True  # ComfyUI's models of pixels draw in any size, that of the LATENT
    return networks[0].image_size == networks[1].image_size


def space_name(patcher: ModelPatcher) -> str:
    """What messages call the latent space of a MODEL."""
    latent_format = format_of(patcher)
    vae_key = getattr(latent_format, "vae_key", None)
    of_vae = f" of the VAE {vae_key}" if vae_key else ""
    return f"{type(latent_format).__name__} ({latent_format.latent_channels} channels{of_vae})"


class RunSpaces:
    """The latent spaces of a run.

    In one space samples are whatever its MODELs make, and stay as they are; no VAE is used. Samples of
    several spaces are pictures, shape (B, C, H, W), between which VAEs map; MODELs of videos make some of one frame.

    Args:
        experts: The chain; those of each of several spaces have a VAE.
        latent: The reference's samples, shape (B, C, …).

    Attributes:
        indices: For each expert the index of its space, see `space_indices`.
    """

    def __init__(self, experts: Experts, latent: Tensor):
        self.indices = space_indices(experts)
        self._experts = experts
        self._size = latent.shape[-2], latent.shape[-1]
        self._index_of = {expert.model: index for expert, index in zip(experts, self.indices, strict=True)}

    @property
    def are_several(self) -> bool:
        """Whether there is more than one."""
        return max(self.indices) > 0

    @property
    def others(self) -> range:
        """The indices of the spaces beside the reference's."""
        return range(1, max(self.indices) + 1)

    @cached_property
    def firsts(self) -> list[WiredTerm]:
        """The first expert of each space."""
        return [self._experts[self.indices.index(index)] for index in (0, *self.others)]

    @cached_property
    def joint(self) -> JointSpaces:
        """Several spaces with their sizes and maps."""
        return JointSpaces([self._space(index) for index in range(len(self.firsts))])

    @cached_property
    def _coders(self) -> list[PictureCoder]:
        """The coder of each of several spaces, by the first VAE that an expert of it has; none in one."""
        if not self.are_several:
            return []
        vaes = vaes_of(self.indices, self._experts)
        return [PictureCoder(vaes[index], format_of(first.model)) for index, first in enumerate(self.firsts)]

    @property
    def vaes(self) -> list[ModelPatcher]:
        """The VAE of each of several spaces, as ComfyUI loads it; none in one."""
        return [coder.vae.patcher for coder in self._coders]

    def memory(self) -> float:
        """Bytes that the largest of the maps between spaces takes, for one picture."""
        spaces = self.joint.spaces if self._coders else ()
        return max((coder.memory(space) for coder, space in zip(self._coders, spaces, strict=True)), default=0.0)

    def index_of(self, patcher: ModelPatcher) -> int:
        """The index of the space of a MODEL."""
        return self._index_of[patcher]

    def kappa_of(self, patcher: ModelPatcher) -> float:
        """κ of the space of a MODEL, see `JointSpaces`."""
        index = self.index_of(patcher)
        return self.joint.kappas[index] if index else 1.0

    def shape_of(self, patcher: ModelPatcher, shape: Sequence[int]) -> Sequence[int]:
        """Shape of samples as a MODEL is given them, where the reference's have this shape."""
        if not self.are_several:
            return shape
        return self.framed(patcher, torch.empty(shape[0], *self._of(patcher).shape, device="meta")).shape

    def framed(self, patcher: ModelPatcher, x: Tensor) -> Tensor:
        """A sample as a MODEL takes it: of several spaces a picture, which may have to be a video of one frame."""
        return x.unsqueeze(2) if self.are_several and format_of(patcher).latent_dimensions == 3 else x

    def unframed(self, x: Tensor) -> Tensor:
        """A MODEL's sample as experts' are combined: of several spaces a picture."""
        return without_time_axis(x) if self.are_several else x

    def with_areas(self, patcher: ModelPatcher, conds: Conds) -> Conds:
        """A MODEL's conditioning, with areas and GLIGEN's boxes where they are in the reference's picture."""
        if self.index_of(patcher) == 0:
            return conds
        moved = {role: [dict(entry) for entry in entries] for role, entries in conds.items()}
        for entry in (entry for entries in moved.values() for entry in entries):
            if entry.get("area") is not None:
                entry["area"] = self._area(patcher, entry["area"])
            if entry.get("gligen") is not None:
                kind, model, boxes = entry["gligen"]
                entry["gligen"] = kind, model, [(box[0], *self._box(patcher, box[1:])) for box in boxes]
        return moved

    def _area(self, patcher: ModelPatcher, area: Sequence[Any]) -> tuple[Any, ...]:
        """An area as ComfyUI takes it of samples of a MODEL: shares of time, height and width, and where they begin."""
        in_shares = area[0] == "percentage"
        values = area[1:] if in_shares else area
        half = len(values) // 2
        sides = [*values[half - 2 : half], *values[-2:]]  # height, width, y and x; what is before them is time
        shares = sides if in_shares else [own / side for own, side in zip(sides, self._sides * 2, strict=True)]
        frames = format_of(patcher).latent_dimensions - 2
        return "percentage", *[1.0] * frames, *shares[:2], *[0.0] * frames, *shares[2:]

    def _box(self, patcher: ModelPatcher, box: Sequence[int]) -> tuple[float, ...]:
        """A box (height, width, y, x) in values of samples of a MODEL."""
        sizes = zip(box, self._of(patcher).size * 2, self._sides * 2, strict=True)
        return tuple(value * own / side for value, own, side in sizes)

    @property
    def _sides(self) -> list[float]:
        """Height and width of the reference's picture, in the unit of ComfyUI's areas."""
        return [side / AREA_UNIT for side in self.joint.spaces[0].picture]

    def _of(self, patcher: ModelPatcher) -> Space:
        return self.joint.spaces[self.index_of(patcher)]

    def _space(self, index: int) -> Space:
        expert, coder = self.firsts[index], self._coders[index]
        latent_format = format_of(expert.model)
        ratio = coder.vae.spacial_compression_decode()
        step = math.lcm(ratio, 1 if isinstance(expert.model.model, ExpertModel) else STEP)
        pixels = ratio * self._size[0], ratio * self._size[1]
        if index > 0:
            pixels = size_like(self._size, native_side(expert.model), step)
        shape = latent_format.latent_channels, pixels[0] // ratio, pixels[1] // ratio
        return Space(shape, pixels, coder.decode, coder.encode, 2 if isinstance(latent_format, _PATCHED) else 1)


def native_side(patcher: ModelPatcher) -> int:
    """Side in pixels of the square pictures that a MODEL was trained on: its file's; 512 for SD1 and SD2; else 1024."""
    if isinstance(patcher.model, ExpertModel):
        return patcher.model.image_size
    is_pixart = isinstance(patcher.model, comfy.model_base.PixArt)  # PixArt-α is of SD1's latents, and of 1024 pixels
    return 512 if isinstance(format_of(patcher), comfy.latent_formats.SD15) and not is_pixart else 1024


class PictureCoder:
    """A VAE with the latent format of a MODEL: from samples as networks see them to pictures, and back.

    ComfyUI's own `encode` and `decode` load the VAE, which may unload networks of the run.

    Args:
        vae: ComfyUI's VAE of pictures; those of single frames too.
        latent_format: The latent format of the MODEL whose samples are coded.
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
        return without_time_axis(pictures)[:, :3].to(samples.device, samples.dtype).clamp(0.0, 1.0)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Samples (B, C, h, w) of pictures (B, 3, H, W), values 0…1, on their device."""
        fitted = self.vae.vae_encode_crop_pixels(pictures.float().movedim(1, -1)).movedim(-1, 1)  # some take RGBA
        framed = self._framed(self.vae.process_input(fitted))
        latents = self._in_turn(framed, self.vae.memory_used_encode, self.vae.first_stage_model.encode).float()
        return without_time_axis(self._format.process_in(latents)).to(pictures.device, pictures.dtype)

    def memory(self, space: Space) -> float:
        """Bytes that coding one picture of a space takes, there or back."""
        vae, dtype = self.vae, self.vae.vae_dtype
        if isinstance(vae.first_stage_model, TAESD):
            return MAPS_OF_TINY * math.prod(space.picture) * comfy.model_management.dtype_size(dtype)
        shapes = space.shape, (3, *space.picture)
        samples, pictures = (self._framed(torch.empty(1, *shape, device="meta")).shape for shape in shapes)
        return max(vae.memory_used_decode(samples, dtype), vae.memory_used_encode(pictures, dtype))

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

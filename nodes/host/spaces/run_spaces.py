"""The latent spaces of a run whose experts have several, and the samples of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import comfy.latent_formats
import comfy.model_base
import torch
from comfy.model_management import dtype_size
from comfy.model_patcher import ModelPatcher
from comfy.taesd.taesd import TAESD
from torch import Tensor

from ....mcdm_core.product.spaces import JointSpaces, Space, size_like
from ..chain.expert_chain import Conds, ExpertInput, Experts
from ..files.expert_model import ExpertModel
from .picture_coders import PictureCoder

_PATCHED = comfy.latent_formats.Flux2  # ComfyUI's format of latents that are cut into patches of two
AREA_UNIT = 8  # pixels that areas of ComfyUI, and boxes, are told in
MAPS_OF_TINY = 6 * 64  # values that a tiny VAE holds at once for each pixel; ComfyUI expects those of a large one, 2178
STEP = 64  # pixels by which sides of pictures are divisible: 8 of a VAE, and 8 of the networks of checkpoints


class SpacesOfRun:
    """The spaces of a run.

    Args:
        experts: The chain; those of each space have a VAE.
        places: For each expert that of its space, see `places_of`.
        size: Height and width of the reference's samples.
    """

    def __init__(self, experts: Experts, places: Sequence[int], size: tuple[int, int]):
        self.places = places
        self._experts = experts
        self._size = size
        self._place_of = {expert.model: place for expert, place in zip(experts, places, strict=True)}

    @cached_property
    def firsts(self) -> list[ExpertInput]:
        """The first expert of each space."""
        return [self._experts[self.places.index(place)] for place in range(max(self.places) + 1)]

    @cached_property
    def _vaes(self) -> list[Any]:
        """The first VAE that an expert of each space has."""
        pairs = [*zip(self.places, self._experts, strict=True)]
        return [
            next(expert.vae for own, expert in pairs if own == place and expert.vae is not None)
            for place in range(len(self.firsts))
        ]

    @cached_property
    def joint(self) -> JointSpaces:
        """The spaces with their sizes and maps."""
        return JointSpaces([self._space(place) for place in range(len(self.firsts))])

    @property
    def vaes(self) -> list[ModelPatcher]:
        """The VAE of each space, as ComfyUI loads it."""
        return [vae.patcher for vae in self._vaes]

    def memory(self) -> float:
        """Bytes that the largest of the maps takes, for one picture."""
        needs = [0.0]
        for vae, space in zip(self._vaes, self.joint.spaces, strict=True):
            if isinstance(vae.first_stage_model, TAESD):
                needs.append(MAPS_OF_TINY * math.prod(space.picture) * dtype_size(vae.vae_dtype))
                continue
            pictures: tuple[int, ...] = (1, 3, *space.picture)
            samples: tuple[int, ...] = (1, *space.shape)
            if vae.latent_dim == 3:
                pictures, samples = (1, 3, 1, *space.picture), (1, space.shape[0], 1, *space.size)
            needs += [vae.memory_used_decode(samples, vae.vae_dtype), vae.memory_used_encode(pictures, vae.vae_dtype)]
        return max(needs)

    def place_of(self, patcher: ModelPatcher) -> int:
        """That of the space of a MODEL."""
        return self._place_of[patcher]

    def shape_of(self, patcher: ModelPatcher, batch: int) -> tuple[int, ...]:
        """Shape of samples as a MODEL is given them."""
        return tuple(self.framed(patcher, torch.empty(batch, *self._of(patcher).shape, device="meta")).shape)

    def scale_of(self, patcher: ModelPatcher) -> float:
        """κ of the space of a MODEL, see `JointSpaces`."""
        return self.joint.scales[self.place_of(patcher)]

    def framed(self, patcher: ModelPatcher, x: Tensor) -> Tensor:
        """A sample (B, C, H, W) as a MODEL takes it, which may be a video of one frame."""
        return x.unsqueeze(2) if _format(patcher).latent_dimensions == 3 else x

    def with_areas(self, patcher: ModelPatcher, conds: Conds) -> Conds:
        """A MODEL's conditioning, with areas and GLIGEN's boxes at their place in the reference's picture."""
        if self.place_of(patcher) == 0:
            return conds
        found = {}
        for role, entries in conds.items():
            found[role] = [dict(entry) for entry in entries]
            for entry in found[role]:
                if entry.get("area") is not None:
                    entry["area"] = self._area(patcher, entry["area"])
                if entry.get("gligen") is not None:
                    kind, model, boxes = entry["gligen"]
                    entry["gligen"] = kind, model, [(box[0], *self._box(patcher, box[1:])) for box in boxes]
        return found

    def _area(self, patcher: ModelPatcher, area: Sequence[Any]) -> tuple[Any, ...]:
        """An area as ComfyUI takes it of samples of a MODEL: shares of time, height and width, and where they begin."""
        in_shares = area[0] == "percentage"
        values = area[1:] if in_shares else area
        half = len(values) // 2
        places = [*values[half - 2 : half], *values[-2:]]  # height, width, y and x; what is before them is time
        shares = places if in_shares else [p / side for p, side in zip(places, self._sides * 2, strict=True)]
        frames = _format(patcher).latent_dimensions - 2
        return "percentage", *[1.0] * frames, *shares[:2], *[0.0] * frames, *shares[2:]

    def _box(self, patcher: ModelPatcher, box: Sequence[int]) -> tuple[float, ...]:
        """A box (height, width, y, x) in values of samples of a MODEL."""
        return tuple(
            p * own / side for p, own, side in zip(box, self._of(patcher).size * 2, self._sides * 2, strict=True)
        )

    @property
    def _sides(self) -> list[float]:
        """Height and width of the reference's picture, in the unit of ComfyUI's areas."""
        return [side / AREA_UNIT for side in self.joint.spaces[0].picture]

    def _of(self, patcher: ModelPatcher) -> Space:
        return self.joint.spaces[self.place_of(patcher)]

    def _space(self, place: int) -> Space:
        expert, vae = self.firsts[place], self._vaes[place]
        latent_format = _format(expert.model)
        ratio = vae.spacial_compression_decode()
        step = math.lcm(ratio, 1 if isinstance(expert.model.model, ExpertModel) else STEP)
        pixels = ratio * self._size[0], ratio * self._size[1]
        if place > 0:
            pixels = size_like(self._size, native_side(expert.model), step)
        coder = PictureCoder(vae, latent_format)
        shape = latent_format.latent_channels, pixels[0] // ratio, pixels[1] // ratio
        return Space(shape, pixels, coder.decode, coder.encode, _patch(latent_format))


def native_side(patcher: ModelPatcher) -> int:
    """Side in pixels of the square pictures that a MODEL was trained on: its file's; 512 for SD1 and SD2; else 1024."""
    if isinstance(patcher.model, ExpertModel):
        return patcher.model.image_size
    is_pixart = isinstance(patcher.model, comfy.model_base.PixArt)  # PixArt-α is of SD1's latents, and of 1024 pixels
    return 512 if isinstance(_format(patcher), comfy.latent_formats.SD15) and not is_pixart else 1024


def places_of(experts: Experts) -> list[int]:
    """For each expert the number of its space, counted from 0 in the order of the chain."""
    found: list[ExpertInput] = []
    places = []
    for expert in experts:
        place = next((i for i, other in enumerate(found) if _one_space(other, expert)), len(found))
        if place == len(found):
            found.append(expert)
        places.append(place)
    return places


def spaces_of(experts: Experts, latent: Tensor) -> SpacesOfRun | None:
    """The spaces of a run; None if the experts' samples are of one.

    Args:
        experts: The chain.
        latent: The reference's samples, shape (B, C, …, H, W).
    """
    places = places_of(experts)
    return SpacesOfRun(experts, places, (latent.shape[-2], latent.shape[-1])) if max(places) > 0 else None


def same_space(first: Any, second: Any) -> bool:
    """Whether two latent formats are of one latent space: the same numbers stand for the same picture."""
    if first.latent_channels != second.latent_channels or first.latent_dimensions != second.latent_dimensions:
        return False
    if getattr(first, "vae_key", None) != getattr(second, "vae_key", None):
        return False  # latents of different VAEs of this pack differ, though none of them are scaled
    probe = torch.linspace(-1.0, 1.0, first.latent_channels).reshape(1, -1, *[1] * (first.latent_dimensions))
    return torch.allclose(first.process_in(probe), second.process_in(probe), rtol=1e-4)


def _one_space(first: ExpertInput, second: ExpertInput) -> bool:
    if not same_space(_format(first.model), _format(second.model)):
        return False
    models = first.model.model, second.model.model
    if not all(isinstance(model, ExpertModel) and model.makes_pictures for model in models):
        return True  # ComfyUI's models of pixels draw in any size, that of the LATENT
    return models[0].image_size == models[1].image_size


def _patch(latent_format: Any) -> int:
    """Side of the patches that are one value of a sample each."""
    return 2 if isinstance(latent_format, _PATCHED) else 1


def _format(patcher: ModelPatcher) -> Any:
    return patcher.get_model_object("latent_format")

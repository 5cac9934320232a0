"""Experts of several latent spaces in plain loops: core's own guiders, core's own VAEs, and a sampler around them."""

import functools
import math
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.latent_formats
import comfy.samplers
import comfy.sd
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.wan.vae import WanVAE
from comfy.model_sampling import CONST
from comfy.taesd.taesd import TAESD
from torch import Tensor

from ....support.joint import Said, carried_picture, joint_product, resized
from ..attachments import unclamped
from ..families.spaces import expert_in
from ..places import HERE
from .networks import fill, network
from .variants import expert_of

SEED = 9
NEARLY_1 = 1.0 - 1e-6  # at σ = 1 a flow's x holds no signal


@functools.cache
def tiny_vae(channels: int) -> comfy.sd.VAE:
    """A VAE of TAESD's layers with random weights."""
    return comfy.sd.VAE(sd=tiny_autoencoder(channels).state_dict(), dtype=torch.float32)


@torch.no_grad()
def tiny_autoencoder(channels: int) -> TAESD:
    """TAESD's layers with random weights, whose latents and pictures are of about unit size and range."""
    network = TAESD(latent_channels=channels)
    fill(network, channels)
    generator = torch.Generator().manual_seed(1)
    network.taesd_encoder[-1].weight.div_(network.taesd_encoder(torch.rand(1, 3, 64, 64, generator=generator)).std())
    network.taesd_encoder[-1].bias.zero_()
    drawn = network.taesd_decoder(torch.randn(1, channels, 8, 8, generator=generator))
    network.taesd_decoder[-1].weight.mul_(0.25 / drawn.std())
    network.taesd_decoder[-1].bias.add_(0.5 - (0.25 / drawn.std() * drawn).mean())
    return network


@functools.cache
def tiny_video_vae(colors: int = 3) -> comfy.sd.VAE:
    """A VAE of Wan's layers, which takes pictures as videos of one frame, with random weights.

    Args:
        colors: Channels of pictures, 4 with transparency.
    """
    told = {"dim": 4, "image_channels": colors, "conv_out_channels": colors}
    network = WanVAE(z_dim=16, temperal_downsample=[False, True, True], **told)
    fill(network, 3)
    return comfy.sd.VAE(sd=network.state_dict(), dtype=torch.float32)


@functools.cache
@torch.no_grad()
def tiny_patched_vae() -> comfy.sd.VAE:
    """A VAE of Flux 2's layers, whose latents are cut into patches of two, with random weights and a narrow decoder."""
    known = {"double_z": True, "z_channels": 32, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128}
    known |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    known |= {"batch_norm_latent": True}
    network = AutoencoderKL(embed_dim=32, ddconfig=known, decoder_ddconfig={**known, "ch": 32})
    fill(network, 4)
    network.bn.running_var.fill_(4.0)
    return comfy.sd.VAE(sd=network.state_dict(), dtype=torch.float32)


@dataclass(eq=False)
class Member:
    """An expert of a space: its loaded parts, and what its node is given.

    Attributes:
        loaded: With `model`, `condition` and `null`.
        weight: w.
        reliability: a, before normalization.
        mask: In the size of the reference's samples, shape (1, H, W).
        end: Share of the sampling after which it no longer acts.
    """

    loaded: Any
    weight: float
    reliability: float = 1.0
    mask: Tensor | None = None
    end: float = 1.0


@dataclass(eq=False)
class Group:
    """A space.

    Attributes:
        vae: ComfyUI's VAE.
        shape: Channels, height and width of a sample.
        picture: Height and width of its picture.
        members: Its experts.
    """

    vae: comfy.sd.VAE
    shape: tuple[int, int, int]
    picture: tuple[int, int]
    members: list[Member]

    @property
    def format(self) -> Any:
        return self.members[0].loaded.model.get_model_object("latent_format")

    @property
    def side(self) -> float:
        """Of a square latent, before Flux 2 cuts it into patches."""
        return math.sqrt(math.prod(self.shape[1:])) * (2 if type(self.format).__name__ == "Flux2" else 1)

    def decode(self, x0: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) of samples, by ComfyUI's own VAE."""
        pictures = self.vae.decode(self.format.process_out(framed(self.format, x0)))
        return (pictures[:, 0] if pictures.ndim == 5 else pictures).movedim(-1, 1)

    def encode(self, pictures: Tensor) -> Tensor:
        """Samples of pictures; one at a time, as core takes a batch for the frames of a video."""
        encoded = torch.cat([self.vae.encode(picture[None].movedim(1, -1)) for picture in pictures])
        return unframed(self.format.process_in(encoded))


def space_of(load: Any, load_latent: Any, name: str, picture: tuple[int, int], *settings: tuple[float, ...]) -> Group:
    """A space with its VAE and experts.

    Args:
        load: The fixture.
        load_latent: The fixture.
        name: A key of `_MODELS`.
        picture: Height and width of its pictures.
        *settings: Weight and reliability of each expert, at most two.
    """
    height, width = picture
    experts = _MODELS[name](load, load_latent)
    if "pixels" in name:
        shape, vae = (3, height, width), load("hair").vae
    else:
        vae = experts[0].vae if name.startswith("latents") else _vae_of(name)
        ratio = vae.spacial_compression_decode()
        shape = vae.latent_channels, height // ratio, width // ratio
    return Group(vae, shape, picture, [Member(e, *own) for e, own in zip(experts, settings, strict=False)])


def _vae_of(name: str) -> comfy.sd.VAE:
    others = {"Flux": partial(tiny_vae, 16), "Flux 2": tiny_patched_vae, "Qwen-Image": tiny_video_vae}
    return others.get(name, partial(tiny_vae, 4))()


def _of_layout(layout: str, latent_format: type | None = None) -> Any:
    def make(load, load_latent):
        model = network(layout, 1)
        if latent_format is not None:
            model.model.latent_format = latent_format()
        return [expert_of(model, 0), expert_of(model, 1)]

    return make


_MODELS = {
    "pixels": lambda load, load_latent: [unclamped(load("class")), unclamped(load("text"))],
    "latents": lambda load, load_latent: [load_latent("class"), load_latent("text")],
    "pixels by maps": lambda load, load_latent: [unclamped(load("hair")), unclamped(load("skin"))],
    "latents by maps": lambda load, load_latent: [load_latent("hair"), load_latent("skin")],
    "SD1.5": _of_layout("eps"),
    "SD2, v": _of_layout("v"),
    "flow": _of_layout("flow"),
    "SDXL": _of_layout("SDXL", comfy.latent_formats.SDXL),
    "Flux": _of_layout("Flux"),
    "Flux 2": lambda load, load_latent: [expert_in("Flux2", 1), expert_in("Flux2", 2)],
    "Qwen-Image": lambda load, load_latent: [expert_in("Wan21", 1), expert_in("Wan21", 2)],
    "Chroma's pixels": lambda load, load_latent: [expert_in("ChromaRadiance", 1), expert_in("ChromaRadiance", 2)],
}


def framed(latent_format: Any, x: Tensor) -> Tensor:
    return x.unsqueeze(2) if latent_format.latent_dimensions == 3 else x


def unframed(x: Tensor) -> Tensor:
    return x[:, :, 0] if x.ndim == 5 else x


def carried(source: Group, target: Group, x0: Tensor, finer: Tensor | None = None) -> Tensor:
    """T: a clean sample of one space as one of another.

    Args:
        source: Where it is from.
        target: Where it is wanted.
        x0: The sample.
        finer: A sample of the target; what smaller pictures can't hold is taken from its picture.
    """
    if source is target:
        return x0
    details = target.decode(finer) if finer is not None and source.picture < target.picture else None
    return target.encode(carried_picture(source.decode(x0), target.picture, details))


def predicted(expert: Any, conditioning: list, x: Tensor, sigma: float) -> Tensor:
    """x0 of one expert at x0 + σ·n, by core's guider at cfg 1."""
    model = expert.model.get_model_object("model_sampling")
    low, high = (float(each) for each in (model.sigma_min, model.sigma_max))
    if isinstance(model, CONST):
        x, sigma = x / (1.0 + sigma), sigma / (1.0 + sigma)
    else:
        known = min(max(sigma, low), high)
        x, sigma = x * math.hypot(1.0, known) / math.hypot(1.0, sigma), known
    kept = []

    def once(model, x_start, sigmas, extra_args, callback, disable):
        here = framed(latent_format, x).to(x_start)
        kept.append(model(here, here.new_full((len(x),), sigma), **extra_args))
        return x_start

    latent_format = expert.model.get_model_object("latent_format")
    guider = comfy.samplers.CFGGuider(expert.model)
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(1.0)
    nothing = torch.zeros_like(framed(latent_format, x))
    guider.sample(nothing, nothing, comfy.samplers.KSAMPLER(once), torch.tensor([sigma, 0.0]), seed=1)
    return unframed(kept[0]).to(x)


class Plain:
    """A product across spaces in plain loops.

    Args:
        groups: The spaces, the reference's first.
        own_null: Whether each condition is measured against its own null.
    """

    def __init__(self, groups: list[Group], own_null: bool = False):
        self.groups = groups
        self.own_null = own_null
        sides = [group.side for group in groups]
        self.kappa = [side / sides[0] for side in sides]

    @torch.no_grad()
    def run(self, sampler, sigmas, noise, latent=None, mask=None) -> Tensor:
        """What ComfyUI's SAMPLER makes of the joint state: the reference's part, as a LATENT.

        Args:
            sampler: The SAMPLER.
            sigmas: Noise levels.
            noise: The reference's start noise.
            latent: The LATENT's samples to start from.
            mask: The run's noise mask, shape (1, H, W) in the size of the reference's samples.
        """
        first = self.groups[0]
        noises = [unframed(noise), *(own_noise(p, noise, g.shape) for p, g in enumerate(self.groups[1:], 1))]
        clean = [torch.zeros_like(each) for each in noises]
        if latent is not None:
            start = unframed(first.format.process_in(latent))
            clean = [carried(first, g, start) / k for g, k in zip(self.groups, self.kappa, strict=True)]
        if mask is not None:
            sizes = [(len(noise), *group.shape) for group in self.groups]
            mask = pack([resized(mask[None], size[-2:]).expand(size) for size in sizes])
        extra_args = {"model_options": {"transformer_options": {}}, "seed": SEED}
        model = _JointModel(self, first.members[0].loaded.model)
        # On the device, where samplers draw their noise otherwise than on the CPU.
        mask = None if mask is None else mask.to(HERE)
        joint = pack(noises).to(HERE), pack(clean).to(HERE), mask
        made = sampler.sample(model, sigmas.to(HERE, copy=True), extra_args, None, *joint, True).cpu()
        return first.format.process_out(framed(first.format, self.unpack(made)[0]))

    def unpack(self, joint: Tensor) -> list[Tensor]:
        parts = joint.split([math.prod(group.shape) for group in self.groups], dim=-1)
        return [part.reshape(-1, *group.shape) for part, group in zip(parts, self.groups, strict=True)]

    def denoised(self, parts: list[Tensor], sigma: float) -> list[Tensor]:
        """x0 of all parts, divided by κ."""
        first = self.groups[0]
        schedule = first.members[0].loaded.model.get_model_object("model_sampling")
        alpha = 1.0 - min(sigma, NEARLY_1) if isinstance(schedule, CONST) else 1.0
        members = [member for group in self.groups for member in group.members]
        acting = [member for member in members if sigma > schedule.percent_to_sigma(member.end)]
        trust = sum(member.reliability * _map(member) for member in acting)
        plain = sum(member.reliability for member in acting)
        said = {}
        for group, part, kappa in zip(self.groups, parts, self.kappa, strict=True):
            own = [member for member in group.members if member in acting]
            if own:
                shares = [
                    torch.where(trust > 0, m.reliability * _map(m) / trust.clamp(min=1e-9), m.reliability / plain)
                    for m in own
                ]
                point = kappa * part / alpha, kappa * sigma / alpha
                predictions = ([predicted(m.loaded, given, *point) for m, given in pairs] for pairs in _inputs(own))
                weights = [member.weight * _map(member) for member in own]
                said[group] = Said(weights, shares, [member.reliability for member in own], *predictions)
        x0 = joint_product(said, first, lambda group, x0, finer: carried(group, first, x0, finer), self.own_null)
        return [carried(first, group, x0) / k for group, k in zip(self.groups, self.kappa, strict=True)]


class _JointModel:
    """What a SAMPLER of ComfyUI asks of a guider."""

    cfg = 1.0

    def __init__(self, plain: Plain, patcher: Any):
        self._plain = plain
        self.model_patcher = patcher
        self.inner_model = patcher.model

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict | None = None, seed: int | None = None) -> Tensor:
        return pack(self._plain.denoised(self._plain.unpack(x.cpu()), float(sigma.flatten()[0]))).to(x)


def pack(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten(1) for part in parts], dim=1).unsqueeze(1)


def own_noise(place: int, noise: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The start noise of a space beside the first, which goes with that of the first, row by row."""
    seeds = [zlib.crc32(row.numpy().tobytes(), place) for row in noise]
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _inputs(members: list[Member]) -> tuple[list, list]:
    """Each member with its condition, and with its null."""
    return [(m, m.loaded.condition) for m in members], [(m, m.loaded.null) for m in members]


def _map(member: Member) -> Tensor:
    """A member's mask as a map, shape (1, 1, H, W); 1 everywhere without one."""
    return torch.ones(1, 1, 1, 1) if member.mask is None else member.mask[None]

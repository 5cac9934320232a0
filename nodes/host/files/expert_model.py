"""Experts as ordinary ComfyUI MODELs, whether they make pictures or latents of a VAE, and their text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models_base
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....mcdm_core import Condition, Expert, UNetConfig
from ....mcdm_core.checkpoints.weights import in_halves
from ....mcdm_core.conditions import Encoder, FaceEncoder, GlideEncoder
from ....mcdm_core.networks import enlarge
from ..chain.expert_chain import Conditioning
from ..comfyui.cores import make_offloadable
from .conditioning import MADE_FOR, read_condition, to_conditioning
from .expert_folders import load
from .latent_formats import space_of
from .reads import ReadConditions
from .schedule_sampling import schedule_sampling

_SPATIAL = ("maps", "low_res")  # fields of a condition with a height and a width
_MODEL_TYPES = {"v": comfy.model_base.ModelType.V_PREDICTION}


class ExpertConfig(comfy.supported_models_base.BASE):
    """The configuration that `BaseModel` needs of a network that is built elsewhere."""

    def __init__(self, dtype: torch.dtype, latent_format: comfy.latent_formats.LatentFormat):
        super().__init__({"disable_unet_model_creation": True, "dtype": dtype})
        self.latent_format = latent_format


class ExpertNetwork(nn.Module):
    """The core's network behind the signature that `BaseModel` calls.

    Args:
        network: The expert's UNet. Samples are padded to sides that it can halve.
        channels: Channels of a sample; further channels of the output are the learned variance.
    """

    def __init__(self, network: nn.Module, channels: int):
        super().__init__()
        self.network = network
        self.channels = channels
        self.dtype = next(network.parameters()).dtype
        config = cast(UNetConfig, network.config)
        self._multiple = config.patch * 2 ** (len(config.channel_mult) - 1)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        context: Tensor | None = None,
        control: dict | None = None,
        transformer_options: dict | None = None,
        **condition: Any,
    ) -> Tensor:
        """Network output without the learned variance, shape of x_t.

        Args:
            x_t: See `UNet.forward`.
            t: See `UNet.forward`.
            context: Text tokens (B, L, D), None for a network that reads none.
            control: The output of a ControlNet.
            transformer_options: ComfyUI's; ignored, since no part of this network can be patched.
            **condition: The other fields of `Condition`.

        Raises:
            ValueError: If a ControlNet is attached.
        """
        if control is not None:
            raise ValueError(
                "Expected no ControlNet on an expert of this pack and got one; add an expert that is driven by the map "
                "instead."
            )
        height, width = x_t.shape[-2:]
        condition = {**condition, **{name: self._padded(condition[name]) for name in _SPATIAL if name in condition}}
        output = self.network(self._padded(x_t), t, context=context, **condition)
        return output[:, : self.channels, :height, :width]

    def _padded(self, x: Tensor) -> Tensor:
        """X with reflected rows and columns below and to the right, since ComfyUI's sides are multiples of only 8."""
        below, right = (-side % self._multiple for side in x.shape[-2:])
        if not (below or right):
            return x
        mode = "reflect" if min(x.shape[-2:]) >= self._multiple else "replicate"
        return F.pad(x, (0, right, 0, below), mode=mode)


class ExpertModel(comfy.model_base.BaseModel):
    """An expert of this pack. Its conditions have keys of their own, except text tokens, which have ComfyUI's.

    Args:
        expert: The loaded expert; from now on ComfyUI moves its network.
        device: Device of the weights.
    """

    def __init__(self, expert: Expert, device: torch.device):
        network = ExpertNetwork(make_offloadable(expert.network), expert.channels)
        prediction = expert.prediction.name
        model_sampling = schedule_sampling(expert.schedule, prediction)
        model_type = _MODEL_TYPES.get(prediction, comfy.model_base.ModelType.EPS)
        super().__init__(ExpertConfig(network.dtype, space_of(expert)), model_type, device=device)
        self.model_sampling = model_sampling
        self.diffusion_model = network
        self.expert_name = expert.name
        self.image_size = expert.image_size
        self.makes_pictures = expert.clamp_x0
        self.unet_config = cast(UNetConfig, expert.network.config)
        self.wants_noise = expert.encoder.wants_noise
        self.reads = ReadConditions(expert.name, expert.encoder, self.unet_config)

    def extra_conds(self, **kwargs: Any) -> dict[str, comfy.conds.CONDRegular]:
        """The network's conditions, from one entry of a CONDITIONING.

        Raises:
            ValueError: If the condition was made for another expert, or its maps have another size than the latent.
        """
        if self.reads.nothing:
            return {}  # the network ignores all conditions
        noise = kwargs["noise"]
        condition = read_condition(kwargs, kwargs.get("cross_attn"))
        moved = self.reads.check(condition, kwargs.get(MADE_FOR), noise.shape).to(kwargs["device"], self.get_dtype())
        conds = {name: comfy.conds.CONDRegular(value) for name, value in moved.tensors().items()}
        if moved.context is not None:
            conds["c_crossattn"] = conds.pop("context")
        if moved.maps is not None:
            conds["maps"] = comfy.conds.CONDNoiseShape(moved.maps)
        if moved.low_res is not None:
            # Enlarged here as in the network, so that ComfyUI cuts tiles and areas from it as from the latent.
            conds["low_res"] = comfy.conds.CONDNoiseShape(enlarge(moved.low_res, noise.shape[-2:]))
        return {**conds, "text_active": comfy.conds.CONDConstant(moved.text_active)}

    def memory_required(self, input_shape: list[int], *args: Any, **kwargs: Any) -> float:
        """Bytes that one pass needs beside the weights.

        Feature maps of all levels are alive at the highest level of the decoder (they are its skips), and convolution
        and normalization take a few copies of the widest; attention is computed without storing its matrix.
        """
        config = self.unet_config
        positions = input_shape[0] * input_shape[-1] * input_shape[-2] / config.patch**2
        widths = [mult * config.model_channels for mult in config.channel_mult]
        skips = sum(width * (config.num_res_blocks + 1) / 4**level for level, width in enumerate(widths))
        return positions * (skips + 8 * max(widths)) * comfy.model_management.dtype_size(self.get_dtype())


def implicit_null(patcher: comfy.model_patcher.ModelPatcher) -> Conditioning | None:
    """The null of an expert without conditions, which need not be connected; None for every other MODEL."""
    reads = getattr(patcher.model, "reads", None)
    return to_conditioning(Condition(), reads.key) if isinstance(reads, ReadConditions) and reads.nothing else None


def clamp_pixels(args: dict) -> Tensor:
    """Post-CFG hook: clamps x0 to a picture's −1…1; ComfyUI derives ε from the result."""
    return args["denoised"].clamp(-1.0, 1.0)


def load_model(name: str, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Make a MODEL of an expert file; ComfyUI calls it again where hooks need a MODEL that isn't dynamic.

    Args:
        name: The file's name.
        disable_dynamic: Whether to load its weights as a whole, even where ComfyUI fetches weights at use.

    Raises:
        ValueError: If the file is missing or cannot be used; one sentence for the user.
    """
    return expert_to_model(load(name), name, disable_dynamic)


def expert_to_model(
    expert: Expert, name: str | None = None, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    """Make a MODEL of an expert, under ComfyUI's own memory management.

    Args:
        expert: The loaded expert.
        name: Name of its file, from which ComfyUI may load it again; None if there is none.
        disable_dynamic: See `load_model`.

    Raises:
        ValueError: If ComfyUI cannot sample this kind of expert.
    """
    load_device = comfy.model_management.get_torch_device()
    offload_device = comfy.model_management.unet_offload_device()
    _fit_precision(expert.network, load_device)
    kind = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    model = ExpertModel(expert, offload_device)
    patcher = kind(model, load_device=load_device, offload_device=offload_device)
    if name is not None:
        patcher.cached_patcher_init = (load_model, (name,))
    if expert.clamp_x0:
        patcher.set_model_sampler_post_cfg_function(clamp_pixels)
    return patcher


def _fit_precision(network: nn.Module, device: torch.device) -> None:
    """Convert a network stored in half precision to float32 where the device has no fast half precision."""
    size = sum(parameter.numel() for parameter in network.parameters())
    has_fast = {
        torch.float16: comfy.model_management.should_use_fp16,
        torch.bfloat16: comfy.model_management.should_use_bf16,
    }
    if in_halves(network) and not has_fast[next(network.parameters()).dtype](device, size):
        network.float()


class ManagedTextEncoder:
    """A text encoder that ComfyUI loads to its text encoder device at each call.

    It is loaded whole: ComfyUI can load in parts only networks of its own layers.

    Args:
        module: `TextTransformer` or `ClipTextTower`.
    """

    def __init__(self, module: nn.Module):
        self.config: Any = module.config
        self.patcher = comfy.model_patcher.ModelPatcher(
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

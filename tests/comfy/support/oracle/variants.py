"""Experts with all kinds of attachments to a MODEL or a CONDITIONING, made with ComfyUI's own nodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.hooks
import comfy.sd
import comfy_extras.nodes_hooks as hook_nodes
import torch
from comfy.controlnet import ControlNet
from comfy.hooks import HookGroup
from comfy.model_patcher import ModelPatcher
from torch import Tensor

import nodes

from .networks import CONTEXT, POOLED, controlnet, lora, network

PREDICTIONS = ("eps", "v", "flow")
HEIGHT, WIDTH = 8, 12  # of the latents
WEIGHTS = (1.6, 0.9, -0.5)
RELIABILITIES = (1.0, 2.0, 0.5)
WINDOWS = ((0.0, 0.6), (0.4, 1.0), (0.2, 0.8))


@dataclass(frozen=True)
class Expert:
    """The inputs of one Diffusion Expert node, by their names."""

    model: ModelPatcher
    condition: list
    null: list
    weight: float = 1.0
    reliability: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mask: Tensor | None = None


@dataclass(frozen=True)
class Parts:
    """The parts of the experts of one prediction type. The copies share one network, all others another."""

    plain: ModelPatcher
    bare_copy: ModelPatcher
    lora_copy: ModelPatcher
    lora_clone: ModelPatcher
    patched: ModelPatcher
    controlnet: ControlNet
    hooks: HookGroup


class Cast:
    """All experts, with each network made once. Two casts are equal but share nothing."""

    def __init__(self) -> None:
        self.parts = {prediction: _parts(prediction, seed) for seed, prediction in enumerate(PREDICTIONS, start=1)}

    def expert(self, prediction: str, attachment: str, place: int) -> Expert:
        """An expert for this place in a chain; its condition, weight, reliability, mask and window depend on it."""
        parts = self.parts[prediction]
        bare = expert_of(parts.plain, place)
        return _ATTACH[attachment](bare, parts, place)


def expert_of(model: ModelPatcher, place: int) -> Expert:
    """An expert with nothing attached."""
    return Expert(
        model, conditioning(place), conditioning(-1, tokens=3), weight=WEIGHTS[place], reliability=RELIABILITIES[place]
    )


def experts_of(models: Sequence[ModelPatcher]) -> list[Expert]:
    """An expert of each MODEL, with nothing else attached."""
    return [expert_of(model, place) for place, model in enumerate(models)]


def conditioning(seed: int, tokens: int = 6) -> list:
    """CONDITIONING of a text, as CLIPTextEncode would return it; seeds from −1."""
    generator = torch.Generator().manual_seed(1000 + seed)
    text = torch.randn(1, tokens, CONTEXT, generator=generator)
    return [[text, {"pooled_output": torch.randn(1, POOLED, generator=generator)}]]


def _parts(prediction: str, seed: int) -> Parts:
    plain, copy = network(prediction, seed), network(prediction, seed + 10)
    weights = lora(plain, seed + 20)
    return Parts(
        plain=plain,
        bare_copy=copy,
        lora_copy=comfy.sd.load_lora_for_models(copy, None, weights, 0.5, 0.0)[0],
        lora_clone=comfy.sd.load_lora_for_models(plain, None, weights, 0.7, 0.0)[0],
        patched=patch_attention(plain),
        controlnet=controlnet(plain, seed + 30),
        hooks=schedule_hooks(comfy.hooks.create_hook_lora(weights, 0.6, 0.0)),
    )


def patch_attention(model: ModelPatcher) -> ModelPatcher:
    """A clone whose attention treats conditions and nulls differently, as IP-Adapter and its like do."""

    def scale(rows: Tensor, options: dict[str, Any]) -> Tensor:
        roles = options["cond_or_uncond"]
        factors = rows.new_tensor([0.7 if role else 1.4 for role in roles]).repeat_interleave(len(rows) // len(roles))
        return rows * factors[:, None, None]

    def cross_attention(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        return q, k, scale(v, options)

    def joint_block(args: dict[str, Any], extra: dict[str, Callable]) -> dict[str, Tensor]:
        out = extra["original_block"](args)
        return {**out, "img": scale(out["img"], args["transformer_options"])}

    clone = model.clone()
    clone.set_model_attn2_patch(cross_attention)  # the UNet layouts
    clone.set_model_patch_replace(joint_block, "dit", "double_block", 0)  # the SD3 layout
    return clone


def schedule_hooks(hooks: HookGroup) -> HookGroup:
    keyframes = None
    for strength, start in ((1.0, 0.0), (0.2, 0.5)):
        (keyframes,) = hook_nodes.CreateHookKeyframe().create_hook_keyframe(strength, start, keyframes)
    return hook_nodes.SetHookKeyframes().set_hook_keyframes(hooks, keyframes)[0]


def _with_controlnet(expert: Expert, parts: Parts, place: int) -> Expert:
    picture = torch.rand(1, 8 * HEIGHT, 8 * WIDTH, 3, generator=torch.Generator().manual_seed(place))
    apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    condition, null = apply(expert.condition, expert.null, parts.controlnet, picture, 0.8, 0.0, 0.7)
    return replace(expert, condition=condition, null=null)


def _with_hooks(expert: Expert, parts: Parts, place: int) -> Expert:
    set_hooks = hook_nodes.PairConditioningSetProperties().set_properties
    condition, null = set_hooks(expert.condition, expert.null, 1.0, "default", hooks=parts.hooks)
    return replace(expert, condition=condition, null=null)


def _with_mask(expert: Expert, parts: Parts, place: int) -> Expert:
    """A mask with a ramp from the left, the top or the right, by the expert's place; each leaves a part uncovered."""
    across = (torch.linspace(-0.5, 1.0, WIDTH) * 1.5).clamp(0, 1).expand(HEIGHT, WIDTH)
    down = (torch.linspace(-0.5, 1.0, HEIGHT) * 1.5).clamp(0, 1)[:, None].expand(HEIGHT, WIDTH)
    return replace(expert, mask=(across, down, across.flip(1))[place][None])


def _with_window(expert: Expert, parts: Parts, place: int) -> Expert:
    start, end = WINDOWS[place]
    return replace(expert, start=start, end=end)


_ATTACH: dict[str, Callable[[Expert, Parts, int], Expert]] = {
    "plain": lambda expert, parts, place: expert,
    "LoRA": lambda expert, parts, place: replace(expert, model=parts.lora_copy),
    "LoRA clone": lambda expert, parts, place: replace(expert, model=parts.lora_clone),
    "ControlNet": _with_controlnet,
    "patched attention": lambda expert, parts, place: replace(expert, model=parts.patched),
    "hooked LoRA schedule": _with_hooks,
    "mask": _with_mask,
    "window": _with_window,
}
ATTACHMENTS = tuple(_ATTACH)

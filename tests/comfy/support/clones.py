"""Clones of one MODEL that differ in all kinds of ways, and the traces that a run could leave in them."""

import copy
from types import SimpleNamespace

import comfy.sd
import comfy_extras.nodes_model_advanced as advanced
import torch

from .attachments import patches_like_a_lora
from .oracle.networks import lora

_SMALL_LAYERS = "in_layers.0.weight"  # group norms, which ComfyUI patches in memory


def lora_on(model, seed, strength=0.7):
    return comfy.sd.load_lora_for_models(model, None, lora(model, seed), strength, 0.0)[0]


def on_small_layers(model, seed):
    """A clone with patches on layers that are too small to have pages."""
    clone = lora_on(model, seed)
    clone.add_patches(patches_like_a_lora(clone, seed, _SMALL_LAYERS))
    return clone


def resized(model, seed):
    """A clone whose time embedding is wider, as some LoRAs widen the first layer."""
    clone, weights = lora_on(model, seed), model.model.state_dict()
    generator = torch.Generator().manual_seed(seed)
    for name, axis in (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)):
        shape = list(weights[key := f"diffusion_model.time_embed.{name}"].shape)
        shape[axis] += 32
        patch = 0.2 * torch.randn(shape, generator=generator)
        clone.add_patches({key: ("diff", (patch, {"pad_weight": True}))})
    return clone


def with_other_layers(model):
    """A clone with layers of its own, one of them too small to have a page; only loading can exchange them."""
    clone = lora_on(model, 9)
    for name in ("out.0", "middle_block.0.in_layers.2"):
        layer = copy.deepcopy(model.get_model_object(f"diffusion_model.{name}"))
        layer.weight.data.mul_(1.5)
        clone.add_object_patch(f"diffusion_model.{name}", layer)
    return clone


def as_edm(model):
    """A clone with a schedule of its own."""
    return advanced.ModelSamplingContinuousEDM().patch(model, "eps", 80.0, 0.002)[0]


def discrete(model):
    return advanced.ModelSamplingDiscrete().patch(model, "eps", True)[0]


MADE = {
    "plain": lambda model: model,
    "LoRA": lambda model: lora_on(model, 8),
    "another LoRA": lambda model: lora_on(model, 9),
    "LoRA on the LoRA": lambda model: lora_on(lora_on(model, 8), 9),
    "small layers": lambda model: on_small_layers(model, 10),
    "resized": lambda model: resized(model, 12),
    "other layers": with_other_layers,
    "EDM schedule": as_edm,
    "discrete schedule": discrete,
    "LoRA and schedule": lambda model: as_edm(lora_on(model, 8)),
}


def contents(models):
    """All that a run could change in the MODELs of a network: weights, schedules, and patches applied at use."""
    network = models[0].model
    tensors = {name: value.cpu().clone() for name, value in network.diffusion_model.state_dict().items()}
    for place, model in enumerate(models):
        for name in ("model_sampling", *model.object_patches):
            parts = model.get_model_object(name).state_dict()
            tensors |= {f"{place} {name} {part}": value.cpu().clone() for part, value in parts.items()}
    hanging = {}
    for name, module in network.named_modules():
        for key in ("weight_lowvram_function", "bias_lowvram_function"):
            patch = vars(module).get(key)
            hanging[name, key] = None if patch is None else patch.patches[patch.key]
    return SimpleNamespace(
        tensors=tensors,
        hanging=hanging,
        backup=set(models[0].backup),
        objects={id(value) for value in models[0].object_patches_backup.values()},
        patcher=network.current_patcher,
        sampling=id(network.model_sampling),
    )


def assert_same(now, before):
    assert now.tensors.keys() == before.tensors.keys()
    assert_same_weights(now, before)
    for name in ("hanging", "objects", "patcher", "sampling"):
        assert getattr(now, name) == getattr(before, name), name
    assert now.backup >= before.backup  # resized weights stay outside the pages until the next load


def assert_same_weights(now, before):
    assert [key for key in before.tensors if not torch.equal(now.tensors[key], before.tensors[key])] == []

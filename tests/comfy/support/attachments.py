"""Small experts with attachments to their MODEL or CONDITIONING: LoRAs, hooks, and clones with these."""

import copy

import torch


def patches_like_a_lora(model, seed, suffix="out_layers.3.weight"):
    generator = torch.Generator().manual_seed(seed)
    weights = model.model.state_dict()
    names = [name for name in weights if name.endswith(suffix)]
    assert names
    return {name: ("diff", (0.2 * torch.randn(weights[name].shape, generator=generator),)) for name in names}


def clone(expert):
    other = copy.copy(expert)
    other.model = expert.model.clone()
    return other


def unclamped(expert):
    """A clone without guidance hooks: its predictions may leave −1…1."""
    other = clone(expert)
    other.model.model_options.pop("sampler_post_cfg_function")
    return other


def with_lora(expert, seed=11, **where):
    other = clone(expert)
    other.model.add_patches(patches_like_a_lora(other.model, seed, **where))
    return other


def set_apart(expert):
    """The expert on a MODEL that can't share a pass with others; see `apart`."""
    other = copy.copy(expert)
    other.model = apart(expert.model)
    return other


def apart(model):
    """A clone that differs from others in more than patches, so that weights are exchanged."""
    other = model.clone()
    other.set_model_unet_function_wrapper(lambda apply, args: apply(args["input"], args["timestep"], **args["c"]))
    return other


def split(most):
    """A wrapper that gives the network so many rows at a time, so that it can't be told whose they are."""

    def wrapper(apply_model, args):
        tensors = [args["input"], args["timestep"], args["c"].pop("c_crossattn")]
        chunks = zip(*(tensor.split(most) for tensor in tensors), strict=True)
        return torch.cat([apply_model(x, t, c_crossattn=text, **args["c"]) for x, t, text in chunks])

    return wrapper


def hooks_like_a_lora(model, seed, strengths=(1.0, 0.0, -1.0)):
    """A hooked LoRA whose strength changes during the sampling."""
    import comfy.hooks

    hook = comfy.hooks.WeightHook(strength_model=1.0)
    hook.need_weight_init = False
    hook.weights = patches_like_a_lora(model, seed, "in_layers.2.weight")
    group, schedule = comfy.hooks.HookGroup(), comfy.hooks.HookKeyframeGroup()
    group.add(hook)
    for place, strength in enumerate(strengths):
        schedule.add(comfy.hooks.HookKeyframe(strength, place / len(strengths)))
    group.set_keyframes_on_hooks(schedule)
    return group


def hooked(expert, group):
    other = copy.copy(expert)
    other.condition = [[cond, {**values, "hooks": group}] for cond, values in expert.condition]
    return other


PAIRS = {
    "plain and LoRA": lambda expert: (expert, with_lora(expert)),
    "LoRA and plain": lambda expert: (with_lora(expert), expert),
    "two LoRAs": lambda expert: (with_lora(expert, 11), with_lora(expert, 12)),
    "LoRAs of other layers": lambda expert: (with_lora(expert, 11), with_lora(expert, 12, suffix="in_layers.2.weight")),
    "a LoRA set apart": lambda expert: (expert, set_apart(with_lora(expert))),
    "two LoRAs set apart": lambda expert: (with_lora(expert, 11), set_apart(with_lora(expert, 12))),
    "hooks on the first": lambda expert: (hooked(expert, hooks_like_a_lora(expert.model, 5)), with_lora(expert)),
    "hooks on the LoRA": lambda expert: (expert, hooked(with_lora(expert), hooks_like_a_lora(expert.model, 5))),
    "one schedule on both": lambda expert: [
        hooked(each, group)
        for group in [hooks_like_a_lora(expert.model, 5)]
        for each in (expert, with_lora(expert, suffix="in_layers.2.weight"))
    ],
}


def weighted(first, second):
    return (first, {"weight": 0.7}), (second, {"weight": 0.9})


def alone(expert, **settings):
    return (expert, {"weight": 1.0, **settings})


def null_of(expert):
    return (expert, {"condition": expert.null, "weight": 1.0})

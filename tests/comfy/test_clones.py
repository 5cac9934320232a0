"""MODELs cloned from one checkpoint: each gives its own answer, at little cost, and leaves the network as it was."""

import copy
from collections import Counter

import pytest
import torch

SIGMAS = torch.tensor([20.0, 3.0, 1.0, 0.5, 0.0])


@pytest.fixture
def guide(node):
    """Sample a chain, or a guider, with Euler or the given sampler function; returns the samples."""
    import comfy.samplers

    def run(experts, function=None, guider=None):
        guider = guider or node("MCDM_Guider", experts=experts)[0]
        noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        sampler = comfy.samplers.KSAMPLER(function) if function else comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), sampler, SIGMAS, seed=2)

    return run


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


def with_lora(expert, seed=11, **where):
    other = clone(expert)
    other.model.add_patches(patches_like_a_lora(other.model, seed, **where))
    return other


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


def weights_of(expert):
    return {name: value.clone() for name, value in expert.model.model.state_dict().items()}


def leftovers_of(expert):
    """Everything beside its weights that a run could leave in a network or a MODEL."""
    model, patcher = expert.model.model, expert.model
    functions = {
        name: (len(module.weight_function), len(module.bias_function), module.comfy_cast_weights)
        for name, module in model.named_modules()
        if hasattr(module, "weight_function")
    }
    flags = (model.current_patcher, model.model_lowvram, model.model_loaded_weight_memory)
    hooks = (set(patcher.hook_backup), patcher.current_hooks, set(patcher.hook_patches), patcher.cached_hook_patches)
    return functions, flags, hooks, set(patcher.backup), set(patcher.object_patches_backup)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


PAIRS = {
    "plain and LoRA": lambda expert: (expert, with_lora(expert)),
    "LoRA and plain": lambda expert: (with_lora(expert), expert),
    "two LoRAs": lambda expert: (with_lora(expert, 11), with_lora(expert, 12)),
    "LoRAs of other layers": lambda expert: (with_lora(expert, 11), with_lora(expert, 12, suffix="in_layers.2.weight")),
    "hooks on the first": lambda expert: (hooked(expert, hooks_like_a_lora(expert.model, 5)), with_lora(expert)),
    "hooks on the LoRA": lambda expert: (expert, hooked(with_lora(expert), hooks_like_a_lora(expert.model, 5))),
    "one schedule on both": lambda expert: [
        hooked(each, group)
        for group in [hooks_like_a_lora(expert.model, 5)]
        for each in (expert, with_lora(expert, suffix="in_layers.2.weight"))
    ],
}


@pytest.fixture(params=PAIRS)
def pair(request, load):
    """The same pair twice: of clones, and of experts that share nothing."""

    def build(name="hair"):
        together = PAIRS[request.param](load(name))
        apart = [PAIRS[request.param](load(name))[place] for place in range(2)]
        return together, apart

    return build


def weighted(first, second):
    return (first, {"weight": 0.7}), (second, {"weight": 0.9})


def test_each_gives_its_own_answer(pair, load, chain, guide):
    together, apart = pair()
    expected = guide(chain(*weighted(*apart)))
    assert torch.equal(guide(chain(*weighted(*together))), expected)
    assert not torch.allclose(expected, guide(chain(*weighted(load("hair"), load("hair")))), atol=1e-3)


def test_three_of_one_checkpoint(load, chain, guide):
    def three(plain):
        return [plain, with_lora(plain, 11), with_lora(plain, 12)]

    apart = [three(load("hair"))[place] for place in range(3)]
    assert torch.equal(guide(chain(*three(load("hair")))), guide(chain(*apart)))


@pytest.fixture
def limited(monkeypatch):
    """ComfyUI as it is where only 60 % of a model's weights fit."""
    from comfy.model_patcher import ModelPatcher

    load = ModelPatcher.partially_load

    def load_a_part(self, device, extra_memory=0, **kwargs):
        room = int(0.6 * self.model_size()) - self.model.model_loaded_weight_memory
        return load(self, device, min(extra_memory, max(room, 0)), **kwargs)

    monkeypatch.setattr(ModelPatcher, "partially_load", load_a_part)


def test_partly_loaded_clones_give_the_same(pair, chain, guide, request):
    together, apart = pair()
    expected = guide(chain(*weighted(*apart)))
    request.getfixturevalue("limited")
    together[0].model.detach()
    seen = []

    def look(model, x, sigmas, **kwargs):
        from comfy.k_diffusion.sampling import sample_euler

        seen.append(together[0].model.model.model_lowvram)
        return sample_euler(model, x, sigmas, **kwargs)

    torch.testing.assert_close(guide(chain(*weighted(*together)), look), expected, atol=1e-5, rtol=0)
    assert seen == [True]


@pytest.fixture
def unchanged(chain, guide):
    """Assert that a run leaves no trace in a network, and that each MODEL then does what it did."""

    def check(experts, run):
        alone = [guide(chain(expert)) for expert in experts]
        guide(chain(experts[0]))
        weights, leftovers = weights_of(experts[0]), leftovers_of(experts[0])
        run(chain(*weighted(*experts)))
        assert same(weights_of(experts[0]), weights)
        assert leftovers_of(experts[0]) == leftovers
        assert all(torch.equal(guide(chain(expert)), result) for expert, result in zip(experts, alone, strict=True))

    return check


def test_the_network_is_left_as_it_was(pair, guide, unchanged):
    unchanged(pair()[0], guide)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_cancelled_run_leaves_the_network_as_it_was(pair, guide, unchanged, step):
    import comfy.model_management

    def cancel(model, x, sigmas, extra_args, callback, disable):
        for place in range(step + 1):
            if place == step:
                comfy.model_management.interrupt_current_processing()
            x = model(x, sigmas[place].expand(len(x)), **extra_args)
        return x

    def run(experts):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            guide(experts, cancel)

    unchanged(pair()[0], run)


def test_a_clone_that_fails_leaves_the_network_as_it_was(load, guide, unchanged):
    plain = load("hair")
    broken = with_lora(plain)

    def fail(apply_model, args):
        raise RuntimeError("out of memory")

    def run(experts):
        options = experts[1].model.model_options
        experts[1].model.set_model_unet_function_wrapper(fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            guide(experts)
        del options["model_function_wrapper"]

    unchanged((plain, broken), run)


def test_weights_that_cannot_be_patched_leave_the_network_as_it_was(load, guide, unchanged, monkeypatch):
    from comfy.model_patcher import ModelPatcher

    def run(experts):
        left = 1

        def patch(self, key, *args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                raise RuntimeError("out of memory")
            return ModelPatcher.patch_weight_to_device(self, key, *args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(experts[1].model, "patch_weight_to_device", patch.__get__(experts[1].model))
            with pytest.raises(RuntimeError, match="out of memory"):
                guide(experts)

    plain = load("hair")
    unchanged((plain, with_lora(plain)), run)


@pytest.mark.parametrize("moved", ["plain", "lora"])
def test_weights_that_comfyui_moves_in_the_middle_of_a_run(load, chain, guide, moved):
    """ComfyUI may free memory at any time, as another node's model is loaded, say."""
    from comfy.k_diffusion.sampling import sample_euler

    plain = load("hair")
    lora = with_lora(plain)
    expected = guide(chain(*weighted(load("hair"), with_lora(load("hair")))))

    def move(model, x, sigmas, extra_args, **kwargs):
        model(x, sigmas[0].expand(len(x)), **extra_args)  # both have been active
        guider = model.inner_model
        guider._weights.activate(plain.model if moved == "plain" else lora.model)
        plain.model.partially_unload(torch.device("cpu"), plain.model.model_size() // 2)
        return sample_euler(model, x, sigmas, extra_args=extra_args, **kwargs)

    torch.testing.assert_close(guide(chain(*weighted(plain, lora)), move), expected, atol=1e-5, rtol=0)
    assert torch.equal(guide(chain(plain)), guide(chain(load("hair"))))


def test_models_that_load_in_their_own_way_are_patched_by_comfyui(load, chain, guide):
    """As quantized ones do."""
    from comfy.model_patcher import ModelPatcher

    class OwnWay(ModelPatcher):
        def load(self, *args, **kwargs):
            return super().load(*args, **kwargs)

    def special(expert):
        other = copy.copy(expert)
        other.model = OwnWay(expert.model.model, expert.model.load_device, expert.model.offload_device)
        other.model.model_options = expert.model.clone().model_options
        return other

    plain = special(load("hair"))
    experts = chain(*weighted(plain, with_lora(plain)))
    expected = guide(chain(*weighted(load("hair"), with_lora(load("hair")))))
    assert torch.equal(guide(experts), expected)
    assert torch.equal(guide(experts), expected)
    assert torch.equal(guide(chain(plain)), guide(chain(load("hair"))))


def test_clones_with_schedules_of_their_own(load, chain, guide):
    """What is replaced in a MODEL beside its weights, its schedule for one, comes and goes with it."""
    import comfy_extras.nodes_model_advanced as advanced

    def shifted(expert):
        other = clone(expert)
        (other.model,) = advanced.ModelSamplingDiscrete().patch(other.model, "eps", zsnr=False)
        return other

    plain = load("linear")
    together = guide(chain(*weighted(plain, shifted(plain))))
    assert torch.equal(together, guide(chain(*weighted(load("linear"), shifted(load("linear"))))))
    assert not plain.model.object_patches_backup


def test_weights_are_patched_once_a_run(load, chain, guide, monkeypatch):
    from comfy.model_patcher import ModelPatcher

    patched, patch = Counter(), ModelPatcher.patch_weight_to_device

    def counted(self, key, *args, **kwargs):
        patched[key] += key in self.patches
        return patch(self, key, *args, **kwargs)

    plain = load("hair")
    lora = with_lora(plain)
    guide(chain(plain))
    monkeypatch.setattr(ModelPatcher, "patch_weight_to_device", counted)
    guide(chain(*weighted(plain, lora)))
    assert patched.keys() == lora.model.patches.keys()
    assert set(patched.values()) == {1}


def test_clones_take_no_more_memory_than_the_weights_that_differ(load, chain, guide):
    plain = load("hair")
    lora = with_lora(plain)
    tensors = {}

    def look(model, x, sigmas, extra_args, **kwargs):
        network = plain.model.model.diffusion_model
        handle = network.register_forward_pre_hook(
            lambda *_: tensors.update({value.data_ptr(): value.nbytes for value in network.parameters()})
        )
        with handle:
            return model(x, sigmas[0].expand(len(x)), **extra_args)

    guide(chain(*weighted(plain, lora)), look)
    weights = dict(plain.model.model.named_parameters())
    apart = sum(weights[key].nbytes for key in lora.model.patches)
    assert sum(tensors.values()) == sum(value.nbytes for value in weights.values()) + apart

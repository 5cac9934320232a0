"""MODELs that share weights, memory, and what a run leaves behind."""

import pytest
import torch


@pytest.fixture
def guide(node):
    """Sample a chain with a given sampler; returns the samples."""
    import comfy.samplers

    def run(experts, sampler=None, guider=None):
        guider = guider or node("MCDM_Guider", experts=experts)[0]
        noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        sampler = sampler or comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([20.0, 3.0, 0.5, 0.0]), seed=2)

    return run


@pytest.fixture
def lora_clone():
    """A clone of an expert's MODEL with other weights, as a LoRA makes it."""

    def patch(expert, seed=11):
        clone = type(expert)(**vars(expert))
        clone.model = expert.model.clone()
        generator = torch.Generator().manual_seed(seed)
        weights = clone.model.model.state_dict()
        names = [name for name in weights if name.endswith("out_layers.3.weight")]
        patches = {name: ("diff", (0.2 * torch.randn(weights[name].shape, generator=generator),)) for name in names}
        assert len(clone.model.add_patches(patches)) == len(names) > 0
        return clone

    return patch


def weights_of(expert):
    return {name: value.clone() for name, value in expert.model.model.state_dict().items()}


def test_clones_of_one_checkpoint_give_their_own_answers(load, chain, guide, lora_clone, small_experts):
    plain = load("hair")
    patched = lora_clone(plain)
    together = guide(chain((plain, {"weight": 0.4}), (patched, {"weight": 0.6})))
    copy = lora_clone(load("hair"))  # another file load: nothing is shared
    apart = guide(chain((load("hair"), {"weight": 0.4}), (copy, {"weight": 0.6})))
    assert not torch.equal(apart, guide(chain((plain, {"weight": 1.0}))))
    torch.testing.assert_close(together, apart, atol=1e-6, rtol=0)


def test_clones_leave_the_weights_as_they_were(load, chain, guide, lora_clone):
    plain = load("hair")
    patched = lora_clone(plain)
    before, alone = weights_of(plain), guide(chain(plain))
    guide(chain(patched, plain))
    assert torch.equal(guide(chain(plain)), alone)
    after = weights_of(plain)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_all_experts_are_loaded_in_one_call(load, chain, guide, monkeypatch):
    import comfy.model_management

    calls, load_models = [], comfy.model_management.load_models_gpu

    def counted(models, *args, **kwargs):
        calls.append({model.model for model in models})
        return load_models(models, *args, **kwargs)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", counted)
    experts = [load(name) for name in ("hair", "skin", "text")]
    guide(chain(*experts))
    assert calls == [{expert.model.model for expert in experts}]


def test_partly_loaded_experts_give_the_same(load, chain, guide):
    experts = [load("hair"), load("skin")]
    full = guide(chain(*experts))
    for expert in experts:
        patcher = expert.model
        patcher.detach()
        patcher.partially_load(torch.device("cpu"), extra_memory=int(0.6 * patcher.model_size()))
        assert patcher.model.model_lowvram
    assert torch.equal(guide(chain(*experts)), full)


def test_the_memory_of_a_pass_is_estimated_in_proportion(load):
    model = load("hair").model.model
    one, four = model.memory_required([1, 3, 64, 64]), model.memory_required([4, 3, 64, 64])
    assert four == 4 * one
    assert 2**18 < one < 2**25  # a pass of this network takes about a megabyte


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_cancelled_run_leaves_nothing_behind(load, chain, guide, node, step):
    import comfy.model_management
    import comfy.samplers

    experts = [load("hair"), load("skin")]
    before = guide(chain(*experts))
    (guider,) = node("MCDM_Guider", experts=chain(*experts))
    attributes = set(vars(guider))

    def cancel(model, x, sigmas, extra_args, callback, disable):
        for i in range(step + 1):
            if i == step:
                comfy.model_management.interrupt_current_processing()
            x = model(x, sigmas[i].expand(len(x)), **extra_args)
        return x

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        guide(None, comfy.samplers.KSAMPLER(cancel), guider)
    assert set(vars(guider)) == attributes
    assert all(expert.model.model.current_patcher is None for expert in experts)
    assert torch.equal(guide(None, guider=guider), before)


def test_an_error_inside_an_expert_leaves_nothing_behind(load, chain, guide, monkeypatch):
    experts = [load("hair"), load("skin")]
    before = guide(chain(*experts))
    with monkeypatch.context() as patch:
        patch.setattr(experts[1].model.model.diffusion_model, "forward", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            guide(chain(*experts))
    assert all(expert.model.model.current_patcher is None for expert in experts)
    assert torch.equal(guide(chain(*experts)), before)


def test_newer_arguments_are_passed_on(load, chain, node):
    """Newer ComfyUI hands `latent_shapes` and more through these methods; here they reach CFGGuider, which has none."""
    import comfy.samplers

    (guider,) = node("MCDM_Guider", experts=chain(load("hair")))
    noise = torch.zeros(1, 3, 32, 32)
    with pytest.raises(TypeError, match="unknown_keyword"):
        guider.sample(noise, noise, comfy.samplers.sampler_object("euler"), torch.tensor([1.0, 0.0]), unknown_keyword=1)

"""Hooks of classes that ComfyUI has never seen, as node packs make them."""

from dataclasses import replace

import pytest
import torch


@pytest.fixture
def attach(pack):
    """An expert with a hook that scales what the attention to its text gives; a copy by its `clone` crashes."""
    import comfy.hooks

    class Forgetful(comfy.hooks.TransformerOptionsHook):
        """As Attention Couple's of prompt-control: made by its class, and given its regions afterwards."""

        def __init__(self):
            patches = {"patches": {"attn2_output_patch": [self.scale]}}
            super().__init__(patches, comfy.hooks.EnumHookScope.HookedOnly)

        def scale(self, rows, options):
            assert options["cond_or_uncond"].count(0) <= 1  # it has regions for one condition
            return rows * self.factor

        def on_apply_hooks(self, model, transformer_options):
            assert self.factor
            return super().on_apply_hooks(model, transformer_options)

    def with_hook(expert, factor):
        hook, group = Forgetful(), comfy.hooks.HookGroup()
        hook.factor = factor
        group.add(hook)
        condition = comfy.hooks.set_hooks_for_conditioning(expert.condition, group)
        return replace(expert, condition=condition)

    return with_hook


@pytest.fixture
def bare(pack):
    """An expert with nothing attached, by place."""
    from ..support.oracle.networks import network
    from ..support.oracle.variants import conditioning, expert_of

    return lambda place, model=None: replace(
        expert_of(model or network("eps", place + 1), place), null=conditioning(-1, tokens=6)
    )


@pytest.fixture
def run(node, chain):
    """Sample experts by Product Guider, and by core's own guiders."""
    import comfy.samplers

    from ..support.oracle.core_guiders import sample_by_core_guiders

    noise = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(3))

    @torch.no_grad()
    def sample(experts, by_core=False):
        schedule = experts[0].model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(schedule, "normal", 3)
        if by_core:
            return sample_by_core_guiders(experts, noise, sigmas)
        (guider,) = node("MCDM_Guider", experts=chain(*((expert, vars(expert)) for expert in experts)))
        euler = comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), euler, sigmas, seed=3)

    return sample


@pytest.mark.one_of(2)
@pytest.mark.parametrize("places", [(0,), (1,), (0, 1)], ids=str)
def test_a_hook_whose_clone_forgets(bare, attach, run, places):
    """Experts on networks of their own; each one's hook acts on its own passes."""

    def experts():
        return [attach(bare(i), 0.5 + i) if i in places else bare(i) for i in range(2)]

    theirs = run(experts(), by_core=True)
    torch.testing.assert_close(run(experts()), theirs, atol=1e-4 * theirs.std().item(), rtol=0)
    assert (theirs - run([bare(0), bare(1)])).abs().max() > 1e-2 * theirs.std()


def test_on_clones_of_one_network(bare, attach, run):
    """The second expert's MODEL is a LoRA clone of the first one's."""
    from ..support.clones import lora_on
    from ..support.oracle.networks import network

    def experts(base):
        return [attach(bare(0, base()), 0.5), attach(bare(1, lora_on(base(), 8)), 1.5)]

    shared = network("eps", 1)
    theirs = run(experts(lambda: network("eps", 1)), by_core=True)
    torch.testing.assert_close(run(experts(lambda: shared)), theirs, atol=1e-4 * theirs.std().item(), rtol=0)


def test_one_hook_on_two_experts(bare, attach, run):
    """One CONDITIONING for both."""

    def experts():
        first = attach(bare(0), 0.5)
        return [first, replace(bare(1), condition=first.condition)]

    theirs = run(experts(), by_core=True)
    torch.testing.assert_close(run(experts()), theirs, atol=1e-4 * theirs.std().item(), rtol=0)


def test_one_hooked_condition_twice_on_one_model_is_core_at_the_sum_of_weights(bare, attach, run):
    first = attach(bare(0), 0.5)
    theirs = run([replace(first, weight=2.5)], by_core=True)
    ours = run([replace(first, weight=1.6), replace(first, weight=0.9)])
    torch.testing.assert_close(ours, theirs, atol=1e-4 * theirs.std().item(), rtol=0)

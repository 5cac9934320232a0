"""Hooks of classes that ComfyUI has never seen, as node packs make them."""

from dataclasses import replace
from functools import partial

import comfy.hooks
import pytest

from ..support.clones import lora_on
from ..support.closeness import assert_close
from ..support.oracle.networks import network


@pytest.fixture
def attach(pack):
    """An expert with a hook that scales what the attention to its text gives; a copy by its `clone` crashes."""

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
def bare(bare):
    """An expert with nothing attached by its place, whose null is as long as its condition."""
    return partial(bare, null_tokens=6)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("places", [(0,), (1,), (0, 1)], ids=str)
def test_a_hook_whose_clone_forgets(bare, attach, product_of, by_core, places):
    """Experts on networks of their own; each one's hook acts on its own passes."""

    def experts():
        return [attach(bare(i), 0.5 + i) if i in places else bare(i) for i in range(2)]

    theirs = by_core(experts())
    assert_close(product_of(experts()), theirs)
    assert (theirs - product_of([bare(0), bare(1)])).abs().max() > 1e-2 * theirs.std()


def test_on_clones_of_one_network(bare, attach, product_of, by_core):
    """The second expert's MODEL is a LoRA clone of the first one's."""

    def experts(base):
        return [attach(bare(0, base()), 0.5), attach(bare(1, lora_on(base(), 8)), 1.5)]

    shared = network("eps", 1)
    theirs = by_core(experts(lambda: network("eps", 1)))
    assert_close(product_of(experts(lambda: shared)), theirs)


def test_one_hook_on_two_experts(bare, attach, product_of, by_core):
    """One CONDITIONING for both."""

    def experts():
        first = attach(bare(0), 0.5)
        return [first, replace(bare(1), condition=first.condition)]

    theirs = by_core(experts())
    assert_close(product_of(experts()), theirs)


def test_one_hooked_condition_twice_on_one_model_is_core_at_the_sum_of_weights(bare, attach, product_of, by_core):
    first = attach(bare(0), 0.5)
    theirs = by_core([replace(first, weight=2.5)])
    ours = product_of([replace(first, weight=1.6), replace(first, weight=0.9)])
    assert_close(ours, theirs)

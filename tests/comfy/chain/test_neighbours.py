"""Nodes of other packs that do more than attach something, by stand-ins of the same shape, on experts of a product.

`docs/other-nodes.md` says what became of the packs themselves.
"""

from dataclasses import replace
from types import SimpleNamespace

import comfy.samplers
import pytest
import torch

import nodes

from ..support.closeness import AGREEMENT, assert_close
from ..support.oracle.networks import controlnet, network
from ..support.oracle.through_core import ThroughCore
from ..support.oracle.variants import expert_of


@pytest.fixture
def tiling(pack, monkeypatch):
    """A node that runs the network on the halves of a latent, and whose store is told by the run's first MODEL.

    Tiled Diffusion has this shape: ControlNets keep their hint from ComfyUI in a run whose store is on, and the node
    asks for it, a half at a time.
    """
    store = SimpleNamespace(on=False)
    sample, area_of = comfy.samplers.KSAMPLER.sample, comfy.samplers.get_area_and_mult

    def storing_sample(self, model_wrap, sigmas, extra_args, *args, **kwargs):
        store.on = "tiling" in extra_args["model_options"]
        return sample(self, model_wrap, sigmas, extra_args, *args, **kwargs)

    def storing_area_of(conds, *args):
        control = conds.get("control")
        if control is not None:
            vars(control).pop("get_control", None)
            if store.on:
                control.own_get_control, control.get_control = control.get_control, lambda *args: control
        return area_of(conds, *args)

    def by_halves(apply_model, args):
        x, c, halves = args["input"], args["c"], []
        control = c.get("control")
        hint = None if control is None else control.cond_hint_original
        for side in (0, 1):
            if control is not None:
                control.cond_hint, control.cond_hint_original = None, hint.chunk(2, dim=-1)[side]
                roles, half = args["cond_or_uncond"], x.chunk(2, dim=-1)[side]
                told = control.own_get_control(half, args["timestep"], c, len(roles), c["transformer_options"])
                control.cond_hint, control.cond_hint_original = None, hint
                c = {**c, "control": told}
            halves.append(apply_model(x.chunk(2, dim=-1)[side], args["timestep"], **c))
        return torch.cat(halves, dim=-1)

    monkeypatch.setattr(comfy.samplers.KSAMPLER, "sample", storing_sample)
    monkeypatch.setattr(comfy.samplers, "get_area_and_mult", storing_area_of)

    def attach(model):
        tiled = model.clone()
        tiled.set_model_unet_function_wrapper(by_halves)
        tiled.model_options["tiling"] = True
        return tiled

    return attach


@pytest.fixture
def experts_with(pack, tiling):
    """Two experts on networks of their own; those in the given places are tiled, or have a ControlNet."""

    def build(tiled, steered):
        made = [expert_of(network("eps", place + 1), place) for place in range(2)]
        for place in steered:
            expert = made[place]
            picture = torch.rand(1, 64, 96, 3, generator=torch.Generator().manual_seed(place))
            settings = controlnet(expert.model, place + 31), picture, 0.8, 0.0, 1.0
            condition, null = nodes.ControlNetApplyAdvanced().apply_controlnet(expert.condition, expert.null, *settings)
            made[place] = replace(expert, condition=condition, null=null)
        for place in tiled:
            made[place] = replace(made[place], model=tiling(made[place].model))
        return made

    return build


@pytest.fixture
def by_core(sampled):
    return lambda experts: sampled(ThroughCore(experts, 3))


@pytest.mark.one_of(3)
@pytest.mark.parametrize("steered", [(0,), (1,), (0, 1)], ids=str)
def test_a_node_with_a_global_store_is_exact_on_every_expert(experts_with, product_of, by_core, steered):
    places = (0, 1), steered
    expected = by_core(experts_with(*places))
    assert_close(product_of(experts_with(*places)), expected)
    assert (expected - by_core(experts_with((), steered))).abs().max() > 100 * AGREEMENT * expected.std()


@pytest.mark.parametrize(("tiled", "steered"), [(0, 0), (1, 0)])
def test_it_is_exact_on_one_expert_where_its_store_says_what_that_one_needs(
    experts_with, product_of, by_core, tiled, steered
):
    places = (tiled,), (steered,)
    expected = by_core(experts_with(*places))
    assert_close(product_of(experts_with(*places)), expected)


@pytest.mark.parametrize(("tiled", "place"), [(0, "expert 1"), (1, "expert 2")])
def test_where_its_store_misleads_an_expert_the_user_is_told(experts_with, product_of, tiled, place):
    said = r"^A pass of the network for expert 2 failed \((\w+Error): .*\)\. If that comes from a node that is only on "
    with pytest.raises(ValueError, match=rf"{said}the MODEL of {place} \(.*attach it to every expert") as refused:
        product_of(experts_with((tiled,), (1,)))
    assert isinstance(refused.value.__cause__, (AttributeError, TypeError))


def test_a_node_is_no_more_than_a_possible_cause(experts_with, product_of):
    """The network of the expert without one fails by itself."""

    def failing(*args, **kwargs):
        raise TypeError("not of the node")

    experts = experts_with((0,), ())
    experts[1].model.model.diffusion_model.forward = failing
    said = r"^A pass of the network for expert 2 failed \(TypeError: not of the node\)\. If that comes from a node "
    with pytest.raises(ValueError, match=said):
        product_of(experts)


def test_other_failures_of_a_pass_stay_what_they_are(experts_with, product_of):
    """Where every expert has such a node, or none does, it is no explanation."""

    def failing(apply_model, args):
        raise TypeError("not of ours")

    experts = experts_with((), ())
    for expert in experts:
        expert.model.set_model_unet_function_wrapper(failing)
    with pytest.raises(TypeError, match="not of ours"):
        product_of(experts)

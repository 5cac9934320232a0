"""What node packs inject into a loaded network, on one of several MODELs that share it: each gives its own answer.

ComfyUI's `PatcherInjection` may do anything to the network while its MODEL is loaded.
"""

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.k_diffusion.sampling import sample_euler
from comfy.patcher_extension import PatcherInjection
from torch import nn

from ..support import clones
from ..support.closeness import assert_close
from ..support.oracle.networks import lora, network
from ..support.oracle.variants import experts_of
from ..support.places import HERE


@torch.no_grad()
def normal(*shape):
    return 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(7))


def a_layer_between(network):
    """As AnimateDiff's motion modules: the layer that comes after it gets another name."""
    block = network.output_blocks[1]
    *first, last = (module for _, module in block.named_children())
    added = nn.Conv2d(64, 64, 1, bias=False)
    added.weight = nn.Parameter(normal(64, 64, 1, 1).to(HERE), requires_grad=False)

    def fill(layers):
        block._modules.clear()
        block._modules.update({str(place): layer for place, layer in enumerate(layers)})

    return lambda: fill([*first, added, last]), lambda: fill([*first, last])


def other_weights(network):
    layer, kept = network.input_blocks[1][0].out_layers[3], []

    def inject():
        kept.append(layer.weight)
        layer.weight = nn.Parameter(1.3 * layer.weight.detach(), requires_grad=False)

    return inject, lambda: setattr(layer, "weight", kept.pop())


def weights_where_they_lie(network):
    weight = network.input_blocks[1][0].out_layers[3].weight
    return lambda: weight.data.mul_(2.0), lambda: weight.data.div_(2.0)


KINDS = {make.__name__: make for make in (a_layer_between, other_weights, weights_where_they_lie)}
BYPASS = "ComfyUI's bypass"  # Load LoRA (Bypass)
GROUPS = [("injected", "LoRA"), ("plain", "injected", "LoRA")]


@pytest.fixture(params=["classic", "dynamic"])
def kind_of_models(request):
    if request.param == "dynamic":
        request.getfixturevalue("dynamic_vram")
    return request.param


@pytest.fixture
def models(pack):
    """MODELs by name: clones of one network, or each of a network of its own that is its equal."""

    def injected(base, kind):
        if kind == BYPASS:
            return comfy.sd.load_bypass_lora_for_models(base, None, lora(base, 8), 0.7, 0.0)[0]
        clone = base.clone()
        clone.set_injections("mcdm_test", [PatcherInjection(*(lambda _, do=do: do() for do in KINDS[kind](net(base))))])
        return clone

    def net(model):
        return model.model.diffusion_model

    def with_a_lora(base):
        """Also on the layer whose name another may shift."""
        clone, key = clones.lora_on(base, 9), "diffusion_model.output_blocks.1.2.conv.weight"
        clone.add_patches({key: ("diff", (normal(*base.model.state_dict()[key].shape),))})
        return clone

    def make(names, kind, apart=False):
        together = network("eps", 1)
        of_kind = {
            "plain": lambda base: base,
            "LoRA": with_a_lora,
            "other layers": clones.with_other_layers,
            "injected": lambda base: injected(base, kind),
        }
        return [of_kind[name](network("eps", 1) if apart else together) for name in names]

    return make


@pytest.fixture
def sampled(product_of):
    """Sample a product of MODELs, as ComfyUI runs nodes."""

    @torch.inference_mode()
    def run(models, function="euler"):
        return product_of(experts_of(models), function, steps=2, shape=(1, 4, 8, 12))

    return run


@pytest.mark.one_of(16)
@pytest.mark.usefixtures("kind_of_models")
@pytest.mark.parametrize("kind", [*KINDS, BYPASS])
@pytest.mark.parametrize("names", GROUPS, ids=" + ".join)
def test_each_gives_its_own_answer(models, sampled, names, kind):
    """Also where another of them is loaded, and its injections are in place, as the run begins."""
    together, expected = models(names, kind), sampled(models(names, kind, apart=True))
    assert (expected - sampled(models(["plain"] * len(names), kind))).abs().max() > 1e-2 * expected.std()
    for loaded in (names.index("injected"), 0):
        sampled([together[loaded]])
        assert_close(sampled(together), expected)


@pytest.mark.one_of(8)
@pytest.mark.usefixtures("kind_of_models")
@pytest.mark.parametrize("kind", ["a_layer_between", BYPASS])
@pytest.mark.parametrize("names", [("injected", "other layers"), ("other layers", "injected")], ids=" + ".join)
def test_beside_what_only_loading_can_exchange(models, sampled, names, kind):
    assert_close(sampled(models(names, kind)), sampled(models(names, kind, apart=True)))


@pytest.mark.one_of(4)
@pytest.mark.usefixtures("kind_of_models")
@pytest.mark.parametrize("kind", ["other_weights", BYPASS])
def test_comfyui_loads_the_network_anew_in_the_middle_of_a_run(models, sampled, kind):
    names = ("injected", "LoRA", "injected")
    together, expected = models(names, kind), sampled(models(names, kind, apart=True))

    def moving(model, x, sigmas, extra_args, **kwargs):
        model(x, sigmas[0].expand(len(x)), **extra_args)  # another than the first is active now
        together[0].partially_load(together[0].load_device, 1e32)
        return sample_euler(model, x, sigmas, extra_args=extra_args, **kwargs)

    assert_close(sampled(together, moving), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_the_network_as_it_was(models, sampled, dynamic_vram, kind):
    together = models(GROUPS[1], kind)
    before = {name: value.clone() for name, value in together[0].model.state_dict().items()}
    sampled(together)
    comfy.model_management.unload_all_models()
    after = together[0].model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_what_injections_that_change_no_weight_cost(models, sampled, dynamic_vram):
    """ComfyUI's bypass leaves weights alone, so that nothing is fetched twice."""
    sampled(together := models(("plain", "injected"), BYPASS))
    paged = [module for module in together[0].model.modules() if hasattr(module, "_v")]
    assert dynamic_vram.copied == sum(module._v[2] for module in paged)

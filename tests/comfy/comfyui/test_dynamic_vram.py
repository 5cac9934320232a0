"""That ComfyUI alone is exact where its dynamic VRAM is stood in for, which the other tests then build upon."""

import pytest
import torch

from ..support import dynamic_vram as support
from ..support.clones import lora_on
from ..support.closeness import rounded
from ..support.core_samplers import core_ksampler
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.networks import network
from ..support.oracle.variants import expert_of
from ..support.small_runs import sampled

LAYOUTS = ("eps", "flow", "SDXL")


def core_alone(model):
    """ComfyUI's own CFGGuider over one MODEL."""
    return sampled(core_guider(expert_of(model, 0), 2.0), steps=4)


def with_lora(model):
    return lora_on(model, 8)


@pytest.mark.one_of(16)
@pytest.mark.parametrize("share", [None, 0.5, 0.0])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_core_alone_gives_what_it_gives_without(dynamic_vram, layout, lora, share):
    classic, dynamic = network(layout, 1, disable_dynamic=True), network(layout, 1)
    assert dynamic.is_dynamic()
    assert not classic.is_dynamic()
    if lora:
        classic, dynamic = with_lora(classic), with_lora(dynamic)
    expected = core_alone(classic)
    if share is not None:
        dynamic_vram.budget = int(share * dynamic.model_size())
    found = core_alone(dynamic)
    assert (found - expected).abs().max() <= (rounded(0.0) if lora else 0.0) * expected.std()  # pages aren't rounded
    assert dynamic_vram.used <= dynamic_vram.budget
    assert (dynamic_vram.used > 0) == (share != 0.0)
    assert dynamic_vram.loads == 1
    assert torch.equal(core_alone(dynamic), found)


@pytest.mark.one_of(4)
@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_core_alone_in_smaller_formats(dynamic_vram, dtype, share):
    """Patched weights are rounded at random, in another way than without; plain ones stay what they are."""
    classic, dynamic, exact = (
        network("eps", 1, dtype, disable_dynamic=True),
        network("eps", 1, dtype),
        network("eps", 1),
    )
    exact.model.load_state_dict({name: value.float() for name, value in classic.model.state_dict().items()})
    if share is not None:
        dynamic_vram.budget = int(share * dynamic.model_size())
    assert torch.equal(core_alone(dynamic), core_alone(classic))
    expected = core_alone(with_lora(exact))
    error, usual = (float((core_alone(with_lora(m)) - expected).abs().max()) for m in (dynamic, classic))
    assert 0 < error < 2 * usual


def test_core_alone_where_pages_are_taken_away_in_the_middle(dynamic_vram):
    dynamic = with_lora(network("eps", 1))
    expected = core_alone(dynamic)
    dynamic_vram.reset()

    def take_away(apply_model, args):
        dynamic_vram.free_all()
        return apply_model(args["input"], args["timestep"], **args["c"])

    dynamic.set_model_unet_function_wrapper(take_away)
    assert torch.equal(core_alone(dynamic), expected)
    assert dynamic_vram.freed > 3 * dynamic_vram.used > 0


def test_what_is_in_a_page_that_was_taken_away_is_rubbish(dynamic_vram):
    """Else the tests above would say nothing about who minds the signatures."""
    dynamic = network("eps", 1)
    core_alone(dynamic)
    dynamic_vram.free_all()
    for module in dynamic.model.modules():
        if getattr(module, "_v_signature", None) is not None:
            pages, place, size = module._v
            module._v_signature = pages.fault(place, size)
            pages.unpin(place, size)
    assert core_alone(dynamic).isnan().all()


def test_lines_that_are_no_longer_there_are_noticed(dynamic_vram, monkeypatch):
    monkeypatch.setitem(support._LINES, "_vbar_get", {"if self.load_device is None:": "if False:"})
    with pytest.raises(RuntimeError, match=r'"if self.load_device is None:" once in .*_vbar_get .* 0 times; read'):
        support.install(monkeypatch)


def test_no_layer_keeps_its_page_after_a_pass(dynamic_vram, load):
    dynamic, expert = network("eps", 1), load("hair")
    core_alone(dynamic)
    core_ksampler(expert.model, expert, 2.0)
    assert expert.model.is_dynamic()
    assert dynamic_vram.used > 0
    dynamic_vram.free_all()
    assert dynamic_vram.used == 0

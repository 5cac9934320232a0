"""Experts on several devices, asked at once.

Experts come to the second by what core's Select Model Device does for a GPU; for a CPU it does less.
"""

import threading
from dataclasses import replace
from types import SimpleNamespace

import comfy.model_management
import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import comfy_extras.nodes_multigpu as nodes
import pytest
import torch

from ...support.watchdog import await_event, meet
from ..support.core_samplers import LATENT, cancelled_at, core_ksampler
from ..support.leaks import assert_no_tensor_stays, assert_unchanged, state_of

STEPS = 3


@pytest.fixture(scope="module")
def select(pack, devices):
    """A MODEL loaded once more, for the second device."""
    return lambda model: model.deepclone_multigpu(new_load_device=devices[1])


@pytest.fixture
def two_devices(select, devices, monkeypatch):
    """A ComfyUI that has found both."""
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: list(devices))


@pytest.fixture
def away(select):
    """An expert on the second device."""
    return lambda expert: replace(expert, model=select(expert.model))


@pytest.fixture
def run(guider_of, sampled):
    """Sample a chain of experts, or a guider of them, as ComfyUI runs nodes."""

    @torch.inference_mode()
    def sample(experts=(), sampler="euler", guider=None):
        return sampled(guider or guider_of(experts), sampler).cpu()

    return sample


@pytest.fixture
def networks(at_each_pass):
    """What is called with each pass of a network, in the thread of the pass; by the network."""
    called = {}

    def call(network, _):
        for function in (called.get(id(network)), called.get(None)):
            if function is not None:
                function()

    at_each_pass(call)
    return SimpleNamespace(
        watch=lambda expert, function: called.__setitem__(id(expert.model.model), function),
        watch_all=lambda function: called.__setitem__(None, function),
    )


ATTACHED = ["plain", "LoRA", "LoRA clone", "patched attention", "hooked LoRA schedule", "mask", "window"]


@pytest.mark.one_of(16)
@pytest.mark.parametrize("attachment", ATTACHED)
@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_the_same_to_the_bit_as_on_one(casts, away, run, prediction, attachment):
    here, other = casts[0].expert("eps", "plain", 0), casts[1].expert(prediction, attachment, 1)
    assert torch.equal(run([here, away(other)]), run([here, other]))


def test_cores_node(casts, two_devices, devices, run):
    here, other = casts[0].expert("eps", "plain", 0), casts[1].expert("v", "plain", 1)
    selected = replace(other, model=nodes.SelectModelDeviceNode.execute(other.model, "gpu:1").args[0])
    assert selected.model.load_device == devices[1]
    assert torch.equal(run([here, selected]), run([here, other]))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("attachment", ["LoRA clone", "patched attention", "hooked LoRA schedule"])
def test_two_that_share_a_network_on_the_other_device(casts, select, run, attachment):
    here = casts[0].expert("eps", "plain", 0)
    first, second = (casts[1].expert("v", name, place) for place, name in ((1, "plain"), (2, attachment)))
    plain = select(first.model)
    moved = second.model.clone(model_override=plain.get_clone_model_override())  # as if changed after it was placed
    moved.load_device = plain.load_device
    alone = run([here, first, second])
    assert torch.equal(run([here, replace(first, model=plain), replace(second, model=moved)]), alone)


def test_the_reference_may_be_away(casts, away, run):
    first, second = casts[0].expert("eps", "LoRA", 0), casts[1].expert("v", "plain", 1)
    assert torch.equal(run([away(first), second]), run([first, second]))


def test_inspect_and_sweep(load, select, chain, node, sweep):
    hair, text = load("hair"), load("text")
    moved = SimpleNamespace(**{**vars(text), "model": select(text.model)})
    assert moved.model.model is not text.model.model
    inspect = {"sampler": comfy.samplers.sampler_object("euler"), "sigmas": torch.tensor([20.0, 3.0, 0.5, 0.0])}
    inspect |= {"noise": custom.Noise_RandomNoise(5), "steps_shown": "3", "latent_image": LATENT, "vae": hair.vae}
    found = []
    for experts in (chain(hair, text), chain(hair, moved)):
        latent, *pictures = node("MCDM_Inspect", experts=experts, **inspect)
        swept = sweep(experts, hair.vae, LATENT, values="0, 0.5", expert_index=1, seeds=1, steps=2)
        found.append([latent["samples"], *pictures, *swept])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_product_as_a_model(load, select, chain, product):
    hair, text = load("hair"), load("text")
    moved = SimpleNamespace(**{**vars(text), "model": select(text.model)})
    found = [core_ksampler(product(hair, chain(other)), hair, 2.0) for other in (text, moved)]
    assert torch.equal(*found)


def test_they_run_at_once(casts, away, run, networks):
    """The passes meet, which they could not one after the other."""
    experts = [casts[0].expert("eps", "plain", 0), away(casts[1].expert("v", "plain", 1))]
    meeting, threads = threading.Barrier(2), set()

    def come():
        threads.add(threading.get_ident())
        meet(meeting, "a pass on the other device")

    for expert in experts:
        networks.watch(expert, come)
    run(experts)
    assert len(threads) == 2
    assert threading.get_ident() in threads


def test_threads_have_the_modes_of_the_run(casts, away, run, networks):
    experts, modes = [casts[0].expert("eps", "plain", 0), away(casts[1].expert("v", "plain", 1))], set()
    networks.watch_all(lambda: modes.add((torch.is_inference_mode_enabled(), torch.is_grad_enabled())))
    run(experts)
    assert modes == {(True, False)}


def test_a_split_expert_beside_one_elsewhere(casts, away, two_devices, run):
    """Both would be on the second device; they are asked one after the other."""
    here, other = casts[0].expert("eps", "plain", 0), casts[1].expert("v", "plain", 1)
    split = replace(here, model=nodes.MultiGPUCFGSplitNode.execute(here.model, 2).args[0])
    whole = run([here, other])
    torch.testing.assert_close(run([split, away(other)]), whole, atol=1e-5 * whole.std().item(), rtol=0)


class BrokenError(Exception):
    pass


def failing(step, error):
    """A function that raises at its call of this number."""
    calls = iter(range(100))

    def call():
        if next(calls) == step:
            raise error("broken")

    return call


def cancelled(_):
    """The user cancels while a network is at work, and a node within the pass notices."""
    comfy.model_management.interrupt_current_processing()
    return comfy.model_management.InterruptProcessingException()


@pytest.mark.one_of(16)
@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("error", [BrokenError, cancelled])
@pytest.mark.parametrize("places", [(0,), (1,), (0, 1), ()], ids=["here", "away", "both", "sampler"])
def test_an_error_or_a_cancel_ends_the_run_on_all(casts, away, guider_of, run, networks, places, error, step):
    """In networks; without one, the user cancels at the sampler."""
    experts = [casts[0].expert("eps", "plain", 0), away(casts[1].expert("v", "plain", 1))]
    guider = guider_of(experts)
    whole = run(guider=guider)
    before, threads = state_of(*(expert.model for expert in experts)), threading.active_count()
    for place in places:
        networks.watch(experts[place], failing(step, error))
    is_broken = places and error is BrokenError
    with pytest.raises(BrokenError if is_broken else comfy.model_management.InterruptProcessingException):
        run(guider=guider, sampler="euler" if places else cancelled_at(step))
    comfy.model_management.interrupt_current_processing(False)  # as ComfyUI does before the next prompt
    assert_unchanged(experts, before, threads)
    for place in places:
        networks.watch(experts[place], None)
    assert torch.equal(run(guider=guider), whole)


def test_nothing_more_is_asked_on_a_device_once_another_failed(casts, away, run, networks):
    """The second device has two networks; the error comes while the first of them is at work."""
    first, second = (away(casts[1].expert(prediction, "plain", 1)) for prediction in ("v", "flow"))
    here = casts[0].expert("eps", "plain", 0)
    begun, failed, asked = threading.Event(), threading.Event(), []

    def fail():
        await_event(begun, "a pass on the second device")
        failed.set()
        raise BrokenError

    def wait():
        asked.append(len(asked))
        begun.set()
        await_event(failed, "the error on the first device")

    networks.watch(here, fail)
    for expert in (first, second):
        networks.watch(expert, wait)
    with pytest.raises(BrokenError):
        run([here, first, second])
    assert len(asked) == 1


@pytest.mark.long
def test_runs_leave_nothing_behind(casts, away, guider_of, run):
    guider = guider_of([casts[0].expert("eps", "plain", 0), away(casts[1].expert("v", "plain", 1))])
    threads = threading.active_count()
    assert_no_tensor_stays(lambda: run(guider=guider))
    assert threading.active_count() == threads

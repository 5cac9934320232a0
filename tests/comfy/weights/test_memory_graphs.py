"""Newer ComfyUI records, thread by thread, what a pass allocates, and fetches weights ahead in queues of all threads.

Where the core at hand does not record, functions of the same names stand in, which count calls by thread.
"""

import contextlib
import threading
import weakref
from collections import Counter
from dataclasses import replace
from functools import partial

import comfy.model_management
import comfy.model_prefetch
import comfy.ops
import comfy_extras.nodes_multigpu as nodes
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..support.adapters import Factors, adapted
from ..support.attachments import split
from ..support.core_samplers import cancelled_at


@pytest.fixture
def prefetch(pack):
    """ComfyUI's module, as it is before any pass."""
    comfy.model_prefetch.cleanup_prefetch_queues()
    return comfy.model_prefetch


class Recording(TorchDispatchMode):
    """Holds on to nothing that is made, but knows what is still there of it, unless it was made in a pause."""

    def __init__(self):
        super().__init__()
        self.made, self.pauses, self.is_paused = [], 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        if isinstance(answer, torch.Tensor) and not self.is_paused:
            self.made.append(weakref.ref(answer))
        return answer

    @contextlib.contextmanager
    def paused(self):
        self.is_paused, self.pauses = True, self.pauses + 1
        yield
        self.is_paused = False

    def alive(self):
        return [tensor() for tensor in self.made if tensor() is not None]


@pytest.mark.parametrize(
    ("kind", "place"), [*((kind, "weight") for kind in ("lora", "tucker", "dora", "loha")), ("difference", "bias")]
)
def test_what_adapters_keep_is_made_outside_the_recording(host, prefetch, monkeypatch, kind, place):
    """On `meta`, to where patches have to be moved."""
    ops = comfy.ops.manual_cast
    layer = ops.Conv2d(8, 8, 3, device="meta") if kind == "tucker" else ops.Linear(8, 8, device="meta")
    x = torch.empty(2, 8, *[4] * (layer.weight.ndim - 2), dtype=torch.float16, device="meta")
    patch = getattr(Factors(getattr(layer, place)), kind)()
    patches = {place: [(1.0, patch, 1.0, None, None)]}
    patched = host.weights.patched_pass.PatchedPass(patches, "layer")
    adapter = host.weights.low_rank.LowRank.of(layer, patches, patched) or patched
    recording = Recording()
    monkeypatch.setattr(prefetch, "pause_malloc_graph", recording.paused, raising=False)
    with torch.no_grad(), recording:
        for _ in range(3):
            output = adapter.add(layer, (x,), {}, layer(x), slice(0, 1))
    assert recording.made
    del output
    assert not recording.alive()
    assert recording.pauses == 1  # what is kept is made once


@pytest.fixture
def ended(prefetch, monkeypatch):
    """How often each thread has ended what it recorded."""
    counts = Counter()

    def end():
        counts.update([threading.current_thread()])

    monkeypatch.setattr(prefetch, "cleanup_malloc_graph", end, raising=False)
    return counts


@pytest.fixture
def asked_in(at_each_pass):
    """How many passes each thread has asked for."""
    counts = Counter()
    at_each_pass(lambda *_: counts.update([threading.current_thread()]))
    return counts


@pytest.fixture
def run(product_of):
    """Sample a product of experts."""
    return partial(product_of, steps=2, shape=(1, 4, 8, 12))


def away(expert, device):
    return replace(expert, model=expert.model.deepclone_multigpu(new_load_device=device))


@pytest.mark.parametrize("end", ["finished", "cancelled"])
def test_threads_of_devices_end_what_they_recorded(bare, run, ended, asked_in, devices, end):
    experts = [bare(0), away(bare(1), devices[1])]
    if end == "finished":
        run(experts)
    else:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run(experts, cancelled_at(1))
    here, elsewhere = threading.current_thread(), asked_in.keys() - {threading.current_thread()}
    assert asked_in[here]
    assert len(elsewhere) == 1
    assert ended == dict.fromkeys(elsewhere, 1)  # ComfyUI ends that of the thread of the run
    assert not any(thread.is_alive() for thread in elsewhere)


def test_threads_of_copies_end_what_they_recorded(bare, run, ended, asked_in, devices, monkeypatch):
    """Of core's MultiGPU CFG Split, on an expert that is not the first."""
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: list(devices))
    second = bare(1)
    run([bare(0), replace(second, model=nodes.MultiGPUCFGSplitNode.execute(second.model, 2).args[0])])
    elsewhere = asked_in.keys() - {threading.current_thread()}
    assert len(elsewhere) == 2
    assert ended == dict.fromkeys(elsewhere, 1)


def fetched_ahead(prefetch, model):
    """Let a layer of a MODEL look as if it were fetched ahead, in a queue of ComfyUI's; returns the layer."""
    layer = next(each for each in model.model.diffusion_model.modules() if hasattr(each, "in_features"))
    layer._prefetch = {"signature": None, "resident": True}
    prefetch.PREFETCH_QUEUES.append([(None, (layer, [layer])), None])
    return layer


def test_a_pass_that_is_given_up_drops_what_its_own_network_fetched_ahead(bare, run, prefetch, ended, monkeypatch):
    """Of three experts, two of which share a network, in whose first shared pass a wrapper splits the batch."""
    first, other = bare(0), bare(1)

    wrapped = first.model.clone()
    wrapped.set_model_unet_function_wrapper(split(2))
    clone = adapted(wrapped, "lora", ".attn2.to_q.weight")
    experts = [replace(first, model=wrapped), replace(first, model=clone), other]
    mine, others = fetched_ahead(prefetch, wrapped), fetched_ahead(prefetch, other.model)
    run(experts)
    queues = len(prefetch.PREFETCH_QUEUES)
    assert not hasattr(mine, "_prefetch")
    assert hasattr(others, "_prefetch")
    assert queues == 2
    assert ended == {threading.current_thread(): 1}
    monkeypatch.undo()
    prefetch.cleanup_prefetch_queues()  # as ComfyUI does after each node
    assert not hasattr(others, "_prefetch")

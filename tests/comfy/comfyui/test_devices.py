"""Core's MultiGPU CFG Split on any expert: its copies on further devices serve its own rows alone."""

import threading
from collections import Counter
from dataclasses import replace

import comfy.model_management
import comfy_extras.nodes_multigpu as nodes
import pytest
import torch

from ..support.clones import lora_on
from ..support.closeness import rounded
from ..support.core_samplers import cancelled_at
from ..support.leaks import assert_no_tensor_stays, assert_unchanged, state_of
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.variants import expert_of


@pytest.fixture
def split(pack, devices, monkeypatch):
    """An expert through core's node."""
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: list(devices))
    return lambda expert: replace(expert, model=nodes.MultiGPUCFGSplitNode.execute(expert.model, 2).args[0])


@pytest.fixture
def passes(at_each_pass):
    """Rows that each network was asked for, by the network."""
    rows = Counter()
    at_each_pass(lambda network, x: rows.update({id(network): len(x)}))
    return rows


def copy_of(expert):
    (copy,) = expert.model.get_additional_models_with_key("multigpu")
    return copy


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=rounded(1e-5) * theirs.std().item(), rtol=0)


def test_one_expert_is_cores_guider(bare, split, guider_of, sampled):
    expert = split(bare(0))
    assert torch.equal(sampled(guider_of([expert])), sampled(core_guider(expert)))


@pytest.mark.one_of(6)
@pytest.mark.parametrize("places", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)], ids=str)
def test_a_split_changes_nothing(bare, split, guider_of, sampled, passes, places):
    experts = [bare(place) for place in range(3)]
    whole = sampled(guider_of(experts))
    divided = [split(expert) if place in places else expert for place, expert in enumerate(experts)]
    passes.clear()
    assert_close(sampled(guider_of(divided)), whole)
    for place, expert in enumerate(divided):  # three steps, two pictures, a condition, and a null
        rows = [passes[id(model.model)] for model in (expert.model, *([copy_of(expert)] if place in places else []))]
        assert rows == ([6, 6] if place in places else [12])


@pytest.mark.one_of(3)
@pytest.mark.parametrize("order", ["LoRA after the split", "LoRA before the split", "LoRA first"])
def test_clones_whose_copies_share_a_network(bare, split, guider_of, sampled, order):
    def with_lora(expert):
        return expert_of(lora_on(expert.model, 8, 0.5), 1)

    def make(divide):
        expert = bare(0)
        if order == "LoRA before the split":
            return [divide(expert), divide(with_lora(expert))]
        divided = divide(expert)
        return [divided, with_lora(divided)][:: -1 if order == "LoRA first" else 1]

    whole = sampled(guider_of(make(lambda expert: expert)))
    experts = make(split)
    for _ in range(2):
        assert_close(sampled(guider_of(experts)), whole)
    assert (copy_of(experts[0]).model is copy_of(experts[1]).model) is (order != "LoRA before the split")


def test_a_split_second_expert_beside_its_undivided_network(bare, split, guider_of, sampled):
    """Both MODELs are one network, of which one is divided."""
    first = bare(0)
    second = replace(bare(1), model=first.model)
    assert_close(sampled(guider_of([first, split(second)])), sampled(guider_of([first, second])))


def test_a_controlnet_on_a_split_second_expert(cast, split, guider_of, sampled, bare):
    first, second = bare(0), replace(cast.expert("eps", "ControlNet", 1), model=bare(1).model)
    assert_close(sampled(guider_of([first, split(second)])), sampled(guider_of([first, second])))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("end", ["finished", "cancelled"])
def test_nothing_is_left_behind(bare, split, guider_of, sampled, end):
    experts = [split(bare(0)), split(bare(1))]
    guider = guider_of(experts)
    whole = sampled(guider)
    before, threads = state_of(*(expert.model for expert in experts)), threading.active_count()
    if end == "cancelled":
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            sampled(guider, cancelled_at(1))
    else:
        sampled(guider)
    assert_unchanged(experts, before, threads)
    assert all("multigpu_clones" not in expert.model.model_options for expert in experts)
    assert all(copy_of(expert).model.current_patcher is None for expert in experts)
    assert torch.equal(sampled(guider), whole)


@pytest.mark.long
def test_runs_leave_no_tensor_behind(bare, split, guider_of, sampled):
    guider = guider_of([split(bare(0)), split(bare(1))])
    assert_no_tensor_stays(lambda: sampled(guider))

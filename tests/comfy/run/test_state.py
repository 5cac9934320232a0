"""Loading, memory, and what a run leaves behind."""

import logging

import comfy.model_management
import psutil
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy.sampler_helpers import estimate_memory

from ..support.attachments import hooked, hooks_like_a_lora, with_lora
from ..support.core_samplers import core_ksampler
from ..support.leaks import Living, state_of


def test_the_memory_of_all_experts_is_estimated_and_logged(load, chain, guide, monkeypatch, caplog):
    needs, load_models = [], comfy.model_management.load_models_gpu

    def seen(models, memory_required=0, minimum_memory_required=None, **kwargs):
        needs.append((memory_required, minimum_memory_required))
        return load_models(models, memory_required, minimum_memory_required=minimum_memory_required, **kwargs)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", seen)
    experts = [load("hair"), load("text")]
    experts[1].model.model.memory_required = lambda *args, **kwargs: 5e9  # the larger need counts, whosever it is
    with caplog.at_level(logging.INFO, "mcdm_pack"):
        guide(chain(*experts))
    own, alone = estimate_memory(experts[0].model, [1, 3, 32, 32], {})
    assert own < 5e9
    assert needs == [(own + 5e9 - alone, 5e9)]  # ComfyUI adds one number to both of the reference's
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    sizes = [f"{expert.model.model_size() / 2**20:.1f} MB" for expert in experts]
    assert line == (
        f"Loading expert 1 (small hair): {sizes[0]}, expert 2 (small text): {sizes[1]}; a pass takes up to 4768.4 MB."
    )


def test_wrappers_around_loading_run_for_every_expert(load, chain, guide):
    experts, seen = [load("hair"), load("skin")], []
    for expert in experts:
        expert.model = expert.model.clone()

        def wrapper(executor, model, noise_shape, conds, *args, own=expert, **kwargs):
            network, conds, additional = executor(model, noise_shape, conds, *args, **kwargs)
            seen.append((model is own.model, network is own.model.model, additional))
            return network, conds, additional

        expert.model.add_wrapper(WrappersMP.PREPARE_SAMPLING, wrapper)
    guide(chain(*experts))
    assert seen == [(True, True, [])] * 2


def test_the_memory_of_a_pass_is_estimated_in_proportion(load):
    model = load("hair").model.model
    one, four = model.memory_required([1, 3, 64, 64]), model.memory_required([4, 3, 64, 64])
    assert four == 4 * one
    assert 2**18 < one < 2**25  # a pass of this network takes about a megabyte


@pytest.fixture
def unharmed(load):
    """Assert that after a run, however it ends, ComfyUI's KSampler gives for each MODEL what it gave before.

    Nothing is left in a MODEL either, once it is loaded again where it was not.
    """

    def check(run):
        experts = [load("hair"), load("skin")]
        before = [core_ksampler(expert.model, expert, 2.0) for expert in experts]
        state = state_of(*(expert.model for expert in experts))
        run(experts)
        assert all(expert.model.model.current_patcher is None for expert in experts)
        assert all(
            torch.equal(core_ksampler(e.model, e, 2.0), picture) for e, picture in zip(experts, before, strict=True)
        )
        assert state_of(*(expert.model for expert in experts)) == state

    return check


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_inside_an_expert_leaves_nothing_behind(chain, guide, unharmed, monkeypatch, place):
    def run(experts):
        with monkeypatch.context() as patch:
            patch.setattr(experts[place].model.model.diffusion_model, "forward", lambda *args, **kwargs: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                guide(chain(*experts))

    unharmed(run)


def test_an_error_while_loading_leaves_nothing_behind(chain, guide, unharmed, monkeypatch):
    def run(experts):
        experts[1].model.detach()
        with monkeypatch.context() as patch:
            patch.setattr(experts[1].model, "load", lambda *args, **kwargs: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                guide(chain(*experts))

    unharmed(run)


@pytest.mark.long
def test_memory_after_200_runs_is_that_after_10(load, chain, node, guide):
    """Of clones, two in one pass from the second step on and one that has hooks, and of a second network."""
    hair = load("hair")
    lora = hooked(with_lora(hair), hooks_like_a_lora(hair.model, 5))
    (guider,) = node("MCDM_Guider", experts=chain(hair, with_lora(hair, 12), lora, load("skin")))

    def used_after(runs):
        for _ in range(runs):
            guide(guider=guider, sigmas=(3.0, 1.0, 0.0), disable_pbar=True)
        return Living.now(), psutil.Process().memory_info().rss

    Living.now()  # the first count makes some objects itself
    living, process = used_after(10)
    later, process_later = used_after(190)
    assert later.nbytes == living.nbytes
    more = later.objects.total() - living.objects.total()
    assert more < 190, later.objects - living.objects  # not one more for each run
    assert process_later == pytest.approx(process, rel=0.01)


LEAKS = {
    "wrapper": lambda model: model.add_wrapper("outer_sample", print),
    "option": lambda model: model.model_options["transformer_options"].setdefault("patches", {}).update(a=[print]),
    "hook": lambda model: setattr(model, "hook_mode", None),
    "backup": lambda model: model.backup.update(a=None),
    "object": lambda model: setattr(model.model, "model_sampling", torch.nn.Identity()),
    "current patcher": lambda model: setattr(model.model, "current_patcher", model),
    "weight function": lambda model: setattr(model.model.diffusion_model.network.out[2], "weight_function", [print]),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_whatever_a_run_left_behind_would_be_seen(load, leak):
    model = load("hair").model
    before = state_of(model)
    assert state_of(model) == before
    LEAKS[leak](model)
    assert state_of(model) != before

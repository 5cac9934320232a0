"""Fewer Passes and Schedule (Expert): who is asked, to the row; that it is the core's is in `test_same_as_core.py`."""

import logging
import re

import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import pytest
import torch
from comfy_extras.nodes_sag import SelfAttentionGuidance

from ..support.cases import PLAIN_PASSES
from ..support.server.posts import apply_check, prompt_node, said_of_chain


@pytest.fixture
def fewer(node):
    """A chain that leaves passes out."""
    return lambda experts, **policy: node("MCDM_Passes", experts=experts, **{**PLAIN_PASSES, **policy})[0]


@pytest.fixture
def scheduled(node):
    """A chain whose last expert acts between these noise levels."""
    window = {"sigma_start": 0.0, "sigma_end": 0.0, "weight_curve": ""}
    return lambda experts, **told: node("MCDM_Schedule", experts=experts, **{**window, **told})[0]


@pytest.fixture
def counted(caplog):
    """What a function logs of its rows: those asked, and those of the plain product."""

    def run(function):
        caplog.clear()
        with caplog.at_level(logging.INFO, "mcdm_pack"):
            result = function()
        (line,) = [found for found in caplog.messages if found.startswith("Fewer passes")]
        asked, plain = map(int, re.findall(r"\d+", line)[:2])
        return result, asked, plain

    return run


SIGMAS = (20.0, 8.0, 3.0, 1.0, 0.5, 0.1, 0.0)


def test_a_window_in_noise_levels_hands_over(load, chain, scheduled, guide, passes, node):
    high, low = passes.watch(load("hair")), passes.watch(load("skin"))
    experts = scheduled(chain(high), sigma_end=1.0)
    inputs = {"weight": 1.5, "reliability": 1.0, "start": 0.0, "end": 1.0, "condition": low.condition, "null": low.null}
    (experts,) = node("MCDM_Expert", model=low.model, experts=experts, **inputs)
    guide(scheduled(experts, sigma_start=1.0), sigmas=SIGMAS)
    assert [call.expert for call in passes.found] == [high] * 3 + [low] * 3
    with pytest.raises(ValueError, match="Expected an active expert"):
        guide(scheduled(experts, sigma_start=0.9), sigmas=SIGMAS)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2"])
@pytest.mark.parametrize("length", [1, 2])
def test_experts_take_turns(load, chain, fewer, guide, passes, counted, sampler, length):
    """A second call in a step belongs to the step whose level it has reached: heun's to the next."""
    experts = [passes.watch(load(name)) for name in ("hair", "skin")]
    counts = counted(lambda: guide(fewer(chain(*experts), switch=length), sampler, sigmas=SIGMAS))[1:]
    asked = [call.expert for call in passes.found]
    levels = {"euler": [1, 2, 3, 4, 5, 6], "heun": [1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]}
    levels["dpm_2"] = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    steps = levels[sampler]
    assert asked == [experts[(step - 1) // length % 2] for step in steps]
    assert counts == (2 * len(steps), 4 * len(steps))


def test_a_null_that_a_hook_reads_is_always_asked(bare, fewer, chain, node, counted, sampled):
    sag, other = bare(0), bare(1)
    hooked = SelfAttentionGuidance.execute(sag.model, 0.8, 2.0).args[0]
    experts = chain((sag, {**vars(sag), "model": hooked}), (other, vars(other)))
    (guider,) = node("MCDM_Guider", experts=fewer(experts, threshold=-1.0, refresh=9))
    assert counted(lambda: sampled(guider, steps=7))[1:] == (2 * (4 + 6 * 3), 2 * 7 * 4)


def test_inspect_counts_all_calls_of_a_step(load, chain, fewer, host):
    experts = fewer(chain(load("hair"), load("skin")), threshold=-1.0, refresh=3)
    arguments = (custom.Noise_RandomNoise(3), comfy.samplers.sampler_object("heun"), torch.tensor(SIGMAS))
    _, recording = host.pictures.recording.sample_recorded(
        experts, *arguments, {"samples": torch.zeros(1, 3, 32, 32)}, "2"
    )
    # heun reports a step before its second call, which counts for the step that follows.
    assert list(recording.rows.values()) == [(4, 4), (4, 8), (4, 8), (8, 8), (4, 8), (4, 8)]


EXPERT, AWAY = ("MCDM_Expert", {}), ("MCDM_Expert", {"weight": -1.0})
LONE = ("MCDM_Expert", {"null": None})
HALF = ("MCDM_Expert", {"null": None, "weight": 0.5})
NO_NULL = "Expert 1 needs a negative"
BENT = ("MCDM_Schedule", {"sigma_start": 0.0, "sigma_end": 0.0, "weight_curve": "0: 2"})


def policy_node(**policy):
    return "MCDM_Passes", {**PLAIN_PASSES, **policy}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([EXPERT, policy_node(end=0.5)], None),
        ([AWAY, AWAY, policy_node(end=0.5)], "positive weight wherever the guidance interval"),
        ([AWAY, EXPERT, policy_node(end=0.5)], None),
        ([AWAY, policy_node(end=0.5), EXPERT], None),
        ([AWAY, policy_node(end=0.5), policy_node()], None),
        ([AWAY, policy_node(sigma_end=0.5)], None),
        ([LONE, policy_node(end=0.5)], NO_NULL),
        ([LONE, policy_node()], NO_NULL),
        ([HALF, HALF, policy_node()], None),
        ([HALF, HALF, policy_node(switch=2)], NO_NULL),
        ([LONE, policy_node(sigma_end=0.5)], None),
        ([LONE, BENT], None),
        (
            [("MCDM_Expert", {"end": 0.5}), BENT, policy_node()],
            "Expert 1 ends at 0.5, and no expert is active from 0.5 to 1 of the sampling. Set its end to 1.",
        ),
        ([EXPERT, policy_node(start=0.8, end=0.2)], None),  # which the node itself says
    ],
)
def test_what_can_be_known_of_a_chain_is_said_when_it_is_queued(host, nodes, said):
    found = said_of_chain(host, nodes)
    assert found is None if said is None else said in found
    assert said_of_chain(host, nodes, denoise=0.0) is None or said == NO_NULL


def test_a_ring_of_nodes_is_no_chain(host):
    ring = {
        "1": prompt_node("MCDM_Passes", **PLAIN_PASSES, experts=["2", 0]),
        "2": prompt_node("MCDM_Schedule", experts=["1", 0]),
    }
    ring["sample"] = prompt_node("MCDM_KSampler", experts=["1", 0])
    chain = apply_check(host, host.prompt.queued_chain.chain_of, ring, "sample")
    assert not chain.experts
    assert not chain.settings

"""Fewer Passes and Expert Schedule: against brute force, to the bit where nothing is left out, and to the row."""

import logging
import re

import pytest
import torch

from ..support import fewer_passes  # noqa: F401  the oracle imports it where the repository is no longer on the path
from .support.core_samplers import cancelled_at, core_ksampler
from .support.posts import found_by, said_of

AGREEMENT = 1e-4  # of the latent's scale
STEPS = 7
OFF = {"start": 0.0, "end": 1.0, "sigma_start": 0.0, "sigma_end": 0.0, "threshold": 1.0, "refresh": 1, "tolerance": 0.0}
POLICIES = {
    "adaptive null": {"threshold": -1.0, "refresh": 3},
    "steady guidance": {"tolerance": 5.0, "refresh": 2},
    "both": {"threshold": -1.0, "tolerance": 5.0, "refresh": 3},
    "interval": {"start": 0.2, "end": 0.7},
    "all": {"end": 0.8, "threshold": -1.0, "refresh": 2},
}


@pytest.fixture
def fewer(node):
    """A chain that leaves passes out."""
    return lambda experts, **policy: node("MCDM_Passes", experts=experts, **{**OFF, **policy})[0]


@pytest.fixture
def scheduled(node):
    """A chain whose last expert has a schedule."""

    def build(experts, sigma_start=0.0, sigma_end=0.0, weight_curve=""):
        window = {"sigma_start": sigma_start, "sigma_end": sigma_end}
        return node("MCDM_Schedule", experts=experts, weight_curve=weight_curve, **window)[0]

    return build


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


@pytest.fixture(scope="module")
def models(pack):
    """MODELs for the product and their equals for brute force, which share nothing."""
    from .support.small_runs import equal_models

    return equal_models()


def sampled(guider, sampler_name="euler"):
    from .support.small_runs import sampled

    return sampled(guider, STEPS, sampler_name)


TWICE = ("heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde")
RUNS = [
    *(("eps v eps", policy, "euler") for policy in POLICIES),
    *(("eps v eps", "both", sampler) for sampler in (*TWICE, "euler_cfg_pp")),
    *(("v flow", "both", sampler) for sampler in ("euler", "heun")),
    *(("flow eps", policy, "euler") for policy in POLICIES),
    ("flow eps", "all", "heun"),
    ("flow eps", "interval", "euler_cfg_pp"),
]


@pytest.mark.one_of(8)
@pytest.mark.parametrize(("names", "policy", "sampler"), RUNS)
def test_agrees_with_brute_force(node, models, fewer, scheduled, counted, names, policy, sampler):
    from .support.oracle.fewer_passes import FewerPassesGuider
    from .support.oracle.variants import expert_of

    ours, theirs = ([expert_of(found[name], i) for i, name in enumerate(names.split())] for found in models)
    experts = ()
    for place, expert in enumerate(ours):
        (experts,) = node("MCDM_Expert", experts=experts, **vars(expert))
        experts = scheduled(experts, weight_curve="0: 0.5, 0.5: 1.5, 1: 1") if place == 1 else experts
    (guider,) = node("MCDM_Guider", experts=fewer(experts, **POLICIES[policy]))
    found, asked, plain = counted(lambda: sampled(guider, sampler))
    settings = {**OFF, **POLICIES[policy]}
    interval = (settings.pop("start"), settings.pop("end"))
    del settings["sigma_start"], settings["sigma_end"]
    curves = [None, [(0.0, 0.5), (0.5, 1.5), (1.0, 1.0)], None][: len(theirs)]
    oracle = FewerPassesGuider(theirs, curves, interval, **settings)
    expected = sampled(oracle, sampler)
    assert expected.isfinite().all()
    assert float((found - expected).abs().max() / expected.std()) <= AGREEMENT
    assert asked == 2 * sum(oracle.memory.asked)
    terms = {"eps v eps": 5, "v flow": 4, "flow eps": 4}[names]
    assert plain == 2 * terms * len(oracle.memory.asked)
    assert asked < plain or sampler.endswith("cfg_pp")


SAME = {
    "nothing": {},
    "an interval over all levels": {"sigma_start": 90000.0, "sigma_end": 1e-9},
    "a threshold of 1": {"refresh": 9},
    "a refresh at every step": {"threshold": 0.0, "tolerance": 10.0},
}


@pytest.mark.one_of(8)
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun", "dpmpp_sde", "euler_cfg_pp"])
@pytest.mark.parametrize("policy", SAME)
def test_where_nothing_is_left_out_it_is_cores_ksampler_to_the_bit(load, chain, fewer, sample, policy, sampler):
    expert = load("linear")
    ours = sample(fewer(chain((expert, {"weight": 2.5})), **SAME[policy]), None, sampler, steps=4)
    assert torch.equal(ours, core_ksampler(expert.model, expert, 2.5, sampler))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("policy", SAME)
def test_where_nothing_is_left_out_it_is_the_plain_product_to_the_bit(load, chain, fewer, scheduled, guide, policy):
    experts = chain(load("hair"), load("linear"))
    plain = guide(experts)
    assert torch.equal(guide(fewer(experts, **SAME[policy])), plain)
    assert torch.equal(guide(scheduled(experts, weight_curve="0: 1, 1: 1")), plain)
    assert torch.equal(guide(scheduled(experts, 90000.0, 0.0)), plain)


SIGMAS = (20.0, 8.0, 3.0, 1.0, 0.5, 0.1, 0.0)


@pytest.mark.parametrize(("sampler", "asked", "plain"), [("euler", 16, 24), ("heun", 28, 44), ("dpm_2", 30, 44)])
def test_rows_to_the_number(load, chain, fewer, guide, passes, counted, sampler, asked, plain):
    """Full steps are 1, 4 of 6; heun's second calls are at the next step's level, dpm_2's between the two."""
    experts = fewer(chain(passes.watch(load("hair")), passes.watch(load("skin"))), threshold=-1.0, refresh=3)
    counts = counted(lambda: guide(experts, sampler, sigmas=SIGMAS))[1:]
    assert counts == (asked, plain)
    assert sum(call.rows for call in passes.found) == asked


def test_outside_the_interval_no_null_is_asked(load, chain, fewer, guide, passes):
    experts = chain(passes.watch(load("hair")), (passes.watch(load("skin")), {"weight": 4.5}))
    guide(fewer(experts, sigma_start=3.0, sigma_end=0.5), sigmas=SIGMAS)
    assert [sorted(call.roles) for call in passes.found[::2]] == [[0], [0], [0, 1], [0, 1], [0], [0]]
    shares = chain((load("hair"), {"weight": 0.25}), (load("skin"), {"weight": 0.75}))
    without = fewer(experts, sigma_end=90000.0)
    torch.testing.assert_close(guide(without, sigmas=SIGMAS), guide(shares, sigmas=SIGMAS), atol=1e-5, rtol=0)


def test_a_window_in_noise_levels_hands_over(load, chain, scheduled, guide, passes, node):
    high, low = passes.watch(load("hair")), passes.watch(load("skin"))
    experts = scheduled(chain(high), sigma_end=1.0)
    inputs = {"weight": 1.5, "reliability": 1.0, "start": 0.0, "end": 1.0, "condition": low.condition, "null": low.null}
    (experts,) = node("MCDM_Expert", model=low.model, experts=experts, **inputs)
    guide(scheduled(experts, sigma_start=1.0), sigmas=SIGMAS)
    assert [call.expert for call in passes.found] == [high] * 3 + [low] * 3
    with pytest.raises(ValueError, match="Expected an active expert"):
        guide(scheduled(experts, sigma_start=0.9), sigmas=SIGMAS)


def test_what_was_said_last_along_the_chain_counts(load, chain, fewer, guide, node, counted):
    first = fewer(chain(load("hair")), threshold=-1.0, refresh=9)
    inputs = {"weight": 1.5, "reliability": 1.0, "start": 0.0, "end": 1.0}
    skin = load("skin")
    (both,) = node("MCDM_Expert", experts=first, model=skin.model, condition=skin.condition, null=skin.null, **inputs)
    assert counted(lambda: guide(both, sigmas=SIGMAS))[1:] == (4 + 5 * 2, 24)
    assert torch.equal(guide(fewer(both), sigmas=SIGMAS), guide(chain(load("hair"), skin), sigmas=SIGMAS))


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


def test_turns_are_windows_that_hand_over(load, chain, fewer, guide, node, scheduled):
    """With turns of half the run each is what a window in noise levels makes of it; with one expert nothing changes."""
    skin, inputs = load("skin"), {"weight": 1.5, "reliability": 1.0, "start": 0.0, "end": 1.0}
    inputs |= {"model": skin.model, "condition": skin.condition, "null": skin.null}
    (handed,) = node("MCDM_Expert", experts=scheduled(chain(load("hair")), sigma_end=2.0), **inputs)
    expected = guide(scheduled(handed, sigma_start=2.0), sigmas=SIGMAS)
    assert torch.equal(guide(fewer(chain(load("hair"), skin), switch=3), sigmas=SIGMAS), expected)
    alone = chain(load("hair"))
    assert torch.equal(guide(fewer(alone, switch=1)), guide(alone))


def test_a_product_as_a_model_leaves_passes_out_too(load, chain, fewer, product, guide, node, counted):
    import comfy.samplers

    hair, skin = load("hair"), load("skin")
    policy = {"threshold": -1.0, "refresh": 3}
    together = guide(fewer(chain(hair, skin), **policy), sigmas=SIGMAS)
    guider = comfy.samplers.CFGGuider(product(hair, fewer(chain(skin), **policy)))
    guider.set_conds(hair.condition, hair.null)
    guider.set_cfg(1.5)
    found, asked, plain = counted(lambda: guide(guider=guider, sigmas=SIGMAS))
    assert torch.equal(found, together)
    assert (asked, plain) == (16, 24)


def test_a_sweep_and_the_own_null_guider_leave_passes_out_too(load, chain, fewer, guide, node, counted, core):
    experts = fewer(chain(load("hair"), load("skin")), threshold=-1.0, refresh=3)
    (own,) = node("MCDM_OwnNullGuider", experts=experts)
    assert counted(lambda: guide(guider=own, sigmas=SIGMAS))[1:] == (16, 24)
    settings = {"steps": 6, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "vae": load("hair").vae}
    settings |= {"expert_index": 1, "values": "0.5", "vary": "reliability", "guidance": "1", "seed": 5, "seeds": 1}
    latent = {"samples": torch.zeros(1, 3, 32, 32)}
    assert counted(lambda: node("MCDM_ReliabilitySweep", experts=experts, latent_image=latent, **settings))[1:] == (
        16,
        24,
    )


def test_a_null_that_a_hook_reads_is_always_asked(models, fewer, node, counted):
    from comfy_extras.nodes_sag import SelfAttentionGuidance

    from .support.oracle.variants import expert_of

    sag = SelfAttentionGuidance.execute(models[0]["eps"], 0.8, 2.0).args[0]
    experts = ()
    for place, model in enumerate((sag, models[0]["v"])):
        (experts,) = node("MCDM_Expert", experts=experts, **vars(expert_of(model, place)))
    (guider,) = node("MCDM_Guider", experts=fewer(experts, threshold=-1.0, refresh=9))
    assert counted(lambda: sampled(guider))[1:] == (2 * (4 + 6 * 3), 2 * 7 * 4)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_cancelled_run_leaves_nothing_behind(load, chain, fewer, guide, node, step):
    import comfy.model_management

    experts = fewer(chain(load("hair"), load("skin")), threshold=-1.0, tolerance=1.0, refresh=3)
    (guider,) = node("MCDM_Guider", experts=experts)
    before, attributes = guide(guider=guider), set(vars(guider))
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        guide(None, cancelled_at(step), guider)
    assert set(vars(guider)) == attributes
    assert torch.equal(guide(guider=guider), before)


@pytest.mark.long
def test_50_runs_of_one_guider_are_the_same(load, chain, fewer, guide, node, counted):
    experts = fewer(chain(load("hair"), load("skin")), threshold=-1.0, tolerance=1.0, refresh=3)
    (guider,) = node("MCDM_Guider", experts=experts)
    first, attributes = counted(lambda: guide(guider=guider)), set(vars(guider))
    for _ in range(49):
        again = counted(lambda: guide(guider=guider))
        assert torch.equal(again[0], first[0])
        assert again[1:] == first[1:]
    assert set(vars(guider)) == attributes


def inspected(node, experts, vae, sampler="euler"):
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    given = {"noise": custom.Noise_RandomNoise(3), "sampler": comfy.samplers.sampler_object(sampler)}
    given |= {"sigmas": torch.tensor(SIGMAS), "latent_image": {"samples": torch.zeros(1, 3, 32, 32)}}
    (guider,) = node("MCDM_Guider", experts=experts)
    expected, _ = custom.SamplerCustomAdvanced().sample(guider=guider, **given)
    return node("MCDM_Inspect", experts=experts, vae=vae, steps_shown="2", **given), expected["samples"]


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_inspect_draws_the_rows_of_each_step(load, chain, fewer, node, host, sampler):
    plain = chain(load("hair"), load("skin"))
    experts, vae = fewer(plain, threshold=-1.0, refresh=3), load("hair").vae
    (latent, grid, plot), expected = inspected(node, experts, vae, sampler)
    (_, plain_grid, plain_plot), _ = inspected(node, plain, vae, sampler)
    assert torch.equal(latent["samples"], expected)
    assert grid.shape == plain_grid.shape
    assert plot.shape[1] == plain_plot.shape[1] // 2 * 3  # one panel more


def test_inspect_counts_all_calls_of_a_step(load, chain, fewer, host):
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    experts = fewer(chain(load("hair"), load("skin")), threshold=-1.0, refresh=3)
    arguments = (custom.Noise_RandomNoise(3), comfy.samplers.sampler_object("heun"), torch.tensor(SIGMAS))
    _, recording = host.pictures.recording.sample_recorded(
        experts, *arguments, {"samples": torch.zeros(1, 3, 32, 32)}, "2"
    )
    # heun reports a step before its second call, which counts for the step that follows.
    assert list(recording.rows.values()) == [(4, 4), (4, 8), (4, 8), (8, 8), (4, 8), (4, 8)]


@pytest.mark.parametrize(
    ("class_type", "inputs", "sentence"),
    [
        ("MCDM_Passes", {"threshold": float("nan")}, "Expected a threshold of a cosine"),
        ("MCDM_Passes", {"tolerance": -1.0}, "Expected a tolerance of 0 or more"),
        ("MCDM_Passes", {"refresh": 0}, "Expected to refresh every 1 to 100 steps"),
        ("MCDM_Passes", {"start": 0.8, "end": 0.2}, "Expected start below end for the guidance interval"),
        ("MCDM_Passes", {"sigma_start": 1.0, "sigma_end": 2.0}, "Expected sigma_start above sigma_end"),
        ("MCDM_Passes", {"sigma_end": float("inf")}, "Expected noise levels of 0 or more"),
        ("MCDM_Passes", {"switch": -1}, "Expected turns of 0 to 100 steps for experts that switch and got -1"),
        ("MCDM_Passes", {}, True),
        ("MCDM_Schedule", {"sigma_start": 1.0, "sigma_end": 2.0}, "Expected sigma_start above sigma_end"),
        ("MCDM_Schedule", {"sigma_start": -1.0}, "Expected noise levels of 0 or more"),
        ("MCDM_Schedule", {"weight_curve": "0: 1, 0: 2"}, "Expected a weight curve for this expert"),
        ("MCDM_Schedule", {"weight_curve": "often"}, "Expected a weight curve such as"),
        ("MCDM_Schedule", {}, True),
    ],
)
def test_what_cannot_be_used_is_refused_at_post(host, node, class_type, inputs, sentence):
    usual = OFF if class_type == "MCDM_Passes" else {"sigma_start": 0.0, "sigma_end": 0.0, "weight_curve": ""}
    said = said_of(host, node, class_type, experts=["1", 0], **{**usual, **inputs})
    assert said is True if sentence is True else said.startswith(sentence)


@pytest.fixture
def queued(host):
    """What POST /prompt would say of a guider behind a chain of nodes, each its type and inputs."""

    def check(*nodes, samples_all=True):
        prompt = {"0": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}}}
        previous = None
        for number, (class_type, settings) in enumerate(nodes, start=1):
            inputs = {} if class_type != "MCDM_Expert" else {
                "model": ["0", 0], "condition": ["0", 1], "null": ["0", 2],
                "weight": 1.5, "reliability": 1.0, "start": 0.0, "end": 1.0,
            }  # fmt: skip
            inputs |= {**settings, "experts": previous}
            kept = {name: value for name, value in inputs.items() if value is not None}
            prompt[str(number)] = {"class_type": class_type, "inputs": kept}
            previous = [str(number), 0]
        prompt["9"] = {"class_type": "MCDM_KSampler", "inputs": {"experts": previous, "denoise": float(samples_all)}}
        fault = found_by(host, host.prompt.chain_checks.check_chain, prompt, "9")
        return fault and fault.sentence

    return check


EXPERT, AWAY = ("MCDM_Expert", {}), ("MCDM_Expert", {"weight": -1.0})
LONE = ("MCDM_Expert", {"null": None})
HALF = ("MCDM_Expert", {"null": None, "weight": 0.5})
BENT = ("MCDM_Schedule", {"sigma_start": 0.0, "sigma_end": 0.0, "weight_curve": "0: 2"})


def policy_node(**policy):
    return "MCDM_Passes", {**OFF, **policy}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([EXPERT, policy_node(end=0.5)], None),
        ([AWAY, AWAY, policy_node(end=0.5)], "positive weight wherever the guidance interval"),
        ([AWAY, EXPERT, policy_node(end=0.5)], None),
        ([AWAY, policy_node(end=0.5), EXPERT], None),
        ([AWAY, policy_node(end=0.5), policy_node()], None),
        ([AWAY, policy_node(sigma_end=0.5)], None),
        ([LONE, policy_node(end=0.5)], "null for expert 1"),
        ([LONE, policy_node()], "null for expert 1"),
        ([HALF, HALF, policy_node()], None),
        ([HALF, HALF, policy_node(switch=2)], "null for expert 1"),
        ([LONE, policy_node(sigma_end=0.5)], None),
        ([LONE, BENT], None),
        ([("MCDM_Expert", {"end": 0.5}), BENT, policy_node()], "Expected an active expert throughout"),
        ([EXPERT, policy_node(start=0.8, end=0.2)], None),  # which the node itself says
    ],
)
def test_what_can_be_known_of_a_chain_is_said_when_it_is_queued(queued, nodes, said):
    found = queued(*nodes)
    assert found is None if said is None else said in found
    assert queued(*nodes, samples_all=False) is None or said == "null for expert 1"


def test_a_ring_of_nodes_is_no_chain(host):
    ring = {
        "1": {"class_type": "MCDM_Passes", "inputs": {**OFF, "experts": ["2", 0]}},
        "2": {"class_type": "MCDM_Schedule", "inputs": {"experts": ["1", 0]}},
    }
    ring["sample"] = {"class_type": "MCDM_KSampler", "inputs": {"experts": ["1", 0]}}
    chain = found_by(host, host.prompt.queued_chain.chain_of, ring, "sample")
    assert not chain.experts
    assert not chain.settings

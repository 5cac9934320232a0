"""Every form of x that ComfyUI has: a network and a copy of it are one network at the sum of their weights.

The copy shares nothing with the first, so that it is asked as any other network is: at levels below and above what
their schedule reaches too, where ComfyUI asks one network all the same, as in unsampling.
"""

import functools
from types import SimpleNamespace

import comfy.k_diffusion.sampling
import comfy.model_base
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import FlipSigmas
from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM
from torch.utils._python_dispatch import TorchDispatchMode

from ..support.families import FAMILIES, small
from ..support.families.sized_noise import SizedFlow
from ..support.oracle.core_guiders import core_guider

CORES = (
    *("EPS", "V_PREDICTION", "V_PREDICTION_EDM", "STABLE_CASCADE", "EDM", "FLOW", "V_PREDICTION_CONTINUOUS", "FLUX"),
    *("IMG_TO_IMG", "FLOW_COSMOS", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM", "FLOW_AV"),
)
FORMS = (*CORES, "FLOW, noise scaled by 8", "FLOW, noise scaled by the size")
RUNS = ("below", "inside", "above", "flipped")
WEIGHTS = 3.0, 2.0


def sampling_of(form, config):
    """A model_sampling of a form, as core makes it."""
    if form.endswith("by the size"):
        return SizedFlow(config)
    name, *scaled = form.split(", ")
    made = comfy.model_base.model_sampling(config, comfy.model_base.ModelType[name])
    if scaled:
        made.set_noise_scale(8.0)
    return made


@pytest.fixture(scope="module")
def networks(pack):
    """Three equal networks, which share nothing."""
    row = FAMILIES["SD15"]
    conditions = {"condition": small.condition(row, 11), "null": small.null(row)}
    return [SimpleNamespace(model=small.network("SD15", row, 1), **conditions) for _ in range(3)]


@pytest.fixture(scope="module")
def experts(networks):
    """Networks in a form."""

    @functools.cache
    def build(form):
        return [in_sampling(each, sampling_of(form, each.model.model.model_config)) for each in networks]

    return build


def in_sampling(expert, sampling):
    """An expert with this model_sampling."""
    model = expert.model.clone()
    model.add_object_patch("model_sampling", sampling)
    return SimpleNamespace(**{**vars(expert), "model": model})


def in_another_range(expert):
    """An expert of noise levels from 0.1 to 10, in x0 + σ·n."""
    (model,) = ModelSamplingContinuousEDM().patch(expert.model, "eps", sigma_max=10.0, sigma_min=0.1)
    return SimpleNamespace(**{**vars(expert), "model": model})


def levels_of(run, schedule):
    """Noise levels that lie beyond a schedule, or within it, or lead up."""
    low, high = float(schedule.sigma_min), float(schedule.sigma_max)
    if run == "flipped":  # but for the last, at which a flow leaves nothing to see
        return FlipSigmas().get_sigmas(comfy.samplers.calculate_sigmas(schedule, "exponential", 5)[1:])[0]
    levels = {"below": (low / 100, low / 10), "inside": (high * 0.9, (low * high) ** 0.5, low * 1.1)}
    return torch.tensor(levels.get(run, (high * 1.4, high * 1.2, high * 0.9)))


@torch.no_grad()
def sampled(guider, sigmas):
    """Euler's steps in float64, as the first of FlipSigmas, from 1e-4, multiplies what float32 rounds off."""

    def euler(model, x, sigmas, **settings):
        return comfy.k_diffusion.sampling.sample_euler(model, x.double(), sigmas, **settings)

    noise, picture = torch.randn(2, 2, 4, 4, 6, generator=torch.Generator().manual_seed(3))
    return guider.sample(noise, picture, comfy.samplers.KSAMPLER(euler), sigmas, disable_pbar=True, seed=3)


def test_every_form_of_core_is_here(pack):
    assert {kind.name for kind in comfy.model_base.ModelType} <= set(CORES)


@pytest.mark.one_of(12)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("form", FORMS)
def test_a_network_and_its_copy_are_the_network_at_the_sum_of_their_weights(
    experts, chain, node, product, assert_agree, form, run
):
    first, copy, _ = experts(form)
    schedule = first.model.get_model_object("model_sampling")
    if run == "above" and ("FLOW" in form or form == "FLUX") and form != "FLOW_COSMOS":
        pytest.skip("a flow has no levels above 1")
    sigmas = levels_of(run, schedule)
    core = sampled(core_guider(first, sum(WEIGHTS)), sigmas)
    both = chain(*((expert, {"weight": w}) for expert, w in zip((first, copy), WEIGHTS, strict=True)))
    assert_agree(sampled(node("MCDM_Guider", experts=both)[0], sigmas), core)
    as_model = product(first, chain((copy, {"weight": WEIGHTS[1]})))
    assert_agree(sampled(core_guider(first, WEIGHTS[0], as_model), sigmas), core)


@pytest.mark.parametrize(("level", "nearest"), [(1e-3, 0.1), (0.5, 0.5), (30.0, 10.0)])
def test_an_expert_of_another_range_is_asked_at_its_nearest_level(experts, chain, node, assert_agree, level, nearest):
    """At σ' = clamp(σ, σ_min, σ_max) about x·√(1 + σ'²)/√(1 + σ²)."""
    first, other, _ = experts("EPS")
    other = in_another_range(other)
    x = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(4))

    def asked(guider, x, level):
        def function(model, _, sigmas, extra_args, callback, disable):
            return model(x.to(sigmas), sigmas.new_tensor([level]), **extra_args)

        zero = torch.zeros_like(x)
        sampler = comfy.samplers.KSAMPLER(function)
        return guider.sample(zero, zero, sampler, torch.tensor([level, 0.0]), disable_pbar=True)

    with torch.no_grad():
        alone = chain((first, {"weight": 0.0, "reliability": 0.0}), (other, {"weight": 1.0}))
        ours = asked(node("MCDM_Guider", experts=alone)[0], x, level)
        moved = x * ((1 + nearest**2) / (1 + level**2)) ** 0.5
        assert_agree(ours, asked(core_guider(other, 1.0), moved, nearest))


class Waits(TorchDispatchMode):
    """Counts reads of a tensor's value, each of which would wait for an accelerator."""

    READS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.name().split(".")[0] in self.READS
        return function(*args, **(kwargs or {}))


def test_a_step_waits_for_a_device_as_often_as_cores(experts, chain, node):
    """But once more where a window asks for its noise level, however many networks there are."""
    first, other, _ = experts("EPS")

    def waits(guider):
        found = []
        for steps in (1, 3):
            with Waits() as counted:
                sampled(guider, torch.linspace(0.9, 0.2, steps + 1))
            found.append(counted.count)
        return (found[1] - found[0]) / 2

    core = waits(core_guider(first, 2.0))
    chains = (first,), (first, other), (first, (other, {"start": 0.01}), (first, {"end": 0.99}))
    assert [waits(node("MCDM_Guider", experts=chain(*of))[0]) - core for of in chains] == [0, 0, 1]


@pytest.mark.one_of(4)
@pytest.mark.parametrize("form", ["EPS", "FLOW, noise scaled by the size"])
@pytest.mark.parametrize("alike", [True, False], ids=["equal ranges", "other ranges"])
def test_no_step_waits_for_a_device_once_more_for_a_further_network(experts, chain, node, form, alike):
    first, *further = experts(form)
    members = [first, *(further if alike else map(in_another_range, further))]

    def waits(count, steps):
        (guider,) = node("MCDM_Guider", experts=chain(*members[:count]))
        with Waits() as found:
            sampled(guider, torch.linspace(0.9, 0.2, steps + 1))
        return found.count

    two, three = ([waits(count, steps) for steps in (1, 2)] for count in (2, 3))
    assert two[0] > 0  # what a run reads once
    assert three[1] - three[0] == two[1] - two[0]

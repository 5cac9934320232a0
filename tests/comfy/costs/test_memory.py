"""What a product holds in memory, and that it gives the same where not all of it fits."""

import pytest
import torch
from comfy.k_diffusion.sampling import sample_euler
from mcdm_pack.benchmarks.memory import Allocations

from ..support.closeness import rounded

SLACK = 1.05
CASTS = {
    "two networks": [("eps", "plain"), ("v", "plain")],
    "a LoRA on a network of its own": [("eps", "plain"), ("eps", "LoRA")],
    "a LoRA on the reference": [("eps", "LoRA"), ("flow", "plain")],
    "LoRA clone": [("eps", "plain"), ("eps", "LoRA clone")],
    "LoRA clone as the reference": [("v", "LoRA clone"), ("v", "plain")],
    "LoRA clone of a flow model": [("flow", "plain"), ("flow", "LoRA clone")],
    "three networks": [("eps", "plain"), ("v", "plain"), ("flow", "plain")],
    "three networks with LoRAs": [("eps", "LoRA"), ("v", "LoRA"), ("flow", "LoRA")],
    "three, two of them clones": [("eps", "plain"), ("flow", "plain"), ("eps", "LoRA clone")],
    "three on one network": [("v", "plain"), ("v", "LoRA clone"), ("v", "patched attention")],
}


@pytest.fixture
def run(product_of):
    """Sample a chain, as ComfyUI runs nodes; returns the samples."""

    @torch.inference_mode()
    def sample(experts, shape=(1, 4, 8, 12), function="euler"):
        return product_of(experts, function, shape=shape)

    return sample


def experts_of(cast, name):
    experts = [cast.expert(*expert, place) for place, expert in enumerate(CASTS[name])]
    for expert in experts:
        expert.model.detach()  # so that loading is a part of the run
    return experts


def networks_of(experts):
    return list({id(expert.model.model): expert.model.model for expert in experts}.values())


def bytes_of_weights(experts):
    """Every network once, and what patches take.

    Patched weights count once more, as plain ones are kept beside them. A MODEL that runs in the batch of another has
    only the patches themselves, once more for the run.
    """
    plain = sum(weight.nbytes for network in networks_of(experts) for weight in network.parameters())
    patched = 0
    models = {id(expert.model): expert.model for expert in experts}.values()
    for model in models:
        weights = dict(model.model.named_parameters())
        batched = any(other.model is model.model and other is not model for other in models)
        for key, patches in model.patches.items():
            used = [factor for _, lora, *_ in patches for factor in lora.weights[:2]] if batched else [weights[key]]
            patched += sum(tensor.nbytes for tensor in used)
    return plain, patched


@pytest.mark.one_of(10)
@pytest.mark.parametrize("name", CASTS)
def test_the_peak_is_the_weights_and_one_pass(cast, run, network_calls, name):
    experts = experts_of(cast, name)
    run(experts, shape := (1, 4, 16, 24))
    made = {(id(call.network), call.rows): call for call in network_calls}.values()
    one_pass = 0
    for call in made:
        with Allocations() as alone, torch.inference_mode():
            call.network(call.x_t, call.t, **call.given)
        one_pass = max(one_pass, alone.peak)
    network_calls.clear()
    experts = experts_of(cast, name)
    with Allocations() as ours:
        run(experts, shape)
    plain, patched = bytes_of_weights(experts)
    assert plain + ours.peak <= SLACK * (plain + patched + one_pass)
    assert ours.peak >= patched + one_pass  # else something was not counted


@pytest.mark.one_of(6)
@pytest.mark.parametrize("name", CASTS)
def test_experts_of_which_60_percent_fit_give_the_same(cast, run, request, name):
    expected = run(experts_of(cast, name))
    request.getfixturevalue("limited")
    experts, shares = experts_of(cast, name), []

    def look(*args, **kwargs):
        for model in {id(expert.model.model): expert.model for expert in experts}.values():
            if model.model.model_lowvram:
                # Newer ComfyUI keeps room for the largest weights that it left out, which are cast as they are used.
                room = getattr(model.model, "model_offload_buffer_memory", 0)
                shares.append((model.loaded_size() + room) / model.model_size())
        return sample_euler(*args, **kwargs)

    partly = run(experts, function=look)
    # Weights are patched as they are used where they don't fit, there in another precision than as they are loaded.
    assert (partly - expected).abs().max() <= rounded(0.0) * expected.abs().max()
    assert len(shares) == len(networks_of(experts))
    assert all(0.5 < share <= 0.6 for share in shares)
    for expert in experts:
        expert.model.detach()

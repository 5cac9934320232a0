"""MODELs that differ in adapters alone, where weights are rounded, quantized, or not all in memory."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ..support.adapters import adapted
from ..support.closeness import rounded
from ..support.oracle.guider import BruteForceGuider
from ..support.oracle.networks import LAYOUTS, fill
from ..support.oracle.variants import experts_of
from ..support.places import OFFLOADED, placed
from ..support.small_runs import sampled

ATTENTION, CONVOLUTION, NORM = ".attn2.to_q.weight", ".in_layers.2.weight", ".norm2.weight"
KINDS = {
    "LoRA": ("lora", ATTENTION),
    "LoRA on convolutions": ("lora", CONVOLUTION),
    "DoRA": ("dora", ATTENTION),
    "LoKr": ("lokr", CONVOLUTION),
    "norms": ("difference", NORM),
}


def network(dtype, seed, kept=None):
    """A network that computes in one dtype and keeps its weights, values that both dtypes have, in it or another."""
    base, unet_config = LAYOUTS["eps"]
    config = base(unet_config)
    config.set_inference_dtype(kept or dtype, dtype if kept else None)
    model = config.get_model({}, device=OFFLOADED)
    model.diffusion_model.float()
    fill(model.diffusion_model, seed)
    model.diffusion_model.to(kept or torch.bfloat16).to(kept or dtype)
    return placed(model)


def experts_on(plain, kind, seed=0):
    models = [plain, adapted(plain, *kind, seed=3 + seed), adapted(plain, *kind, seed=8 + seed)]
    return [replace(expert, weight=1.2, reliability=1.0) for expert in experts_of(models)]


@pytest.fixture
def by_rows(guider_of, sampled, host):
    """Sample a product of experts that differ in adapters alone."""

    def run(experts):
        guider = guider_of(experts)
        (group,) = host.weights.adapter_groups.adapter_groups(guider.experts)
        assert len(group.additions) == len(experts)
        return sampled(guider)

    return run


def by_brute_force(experts):
    return sampled(BruteForceGuider(experts))


def distance(first, second):
    return float((first - second).square().mean().sqrt() / second.std())


@pytest.mark.one_of(10)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_rounding_is_no_worse_than_cores(pack, by_rows, dtype, kind, request, record_property):
    """One network may be more than a tenth off by chance, the mean of 3 is less, and 16 (--all-combinations) half."""
    everything = request.config.getoption("--all-combinations")
    count = 16 if everything else 3
    ratios = []
    for seed in range(0, 100 * count, 100):
        ours, cores, exact = (network(each, 61 + seed) for each in (dtype, dtype, torch.float32))
        expected = by_brute_force(experts_on(exact, KINDS[kind], seed))
        theirs = by_brute_force(experts_on(cores, KINDS[kind], seed))
        ratios.append(distance(by_rows(experts_on(ours, KINDS[kind], seed)), expected) / distance(theirs, expected))
    record_property("ratio", f"{np.mean(ratios):.3f} ± {1.96 * np.std(ratios, ddof=1) / count**0.5:.3f}")
    assert 0 < np.mean(ratios) <= (1.05 if everything else 1.1)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_weights_kept_in_fewer_bits(pack, by_rows, kind):
    """Core rounds patched weights to what they are kept in; adapters that are added aside are not rounded."""
    ours, cores = (network(torch.float32, 62, kept=torch.float8_e4m3fn) for _ in range(2))
    exact = network(torch.float32, 62)
    exact.model.load_state_dict({name: value.float() for name, value in cores.model.state_dict().items()})
    expected = by_brute_force(experts_on(exact, KINDS[kind]))
    result = by_rows(experts_on(ours, KINDS[kind]))
    theirs = by_brute_force(experts_on(cores, KINDS[kind]))
    assert distance(theirs, expected) > 1e-3
    assert distance(result, expected) < rounded(1e-5, 5e-4)


def quantized(seed):
    """A network whose linear layers are quantized as ComfyUI quantizes them, and the same with their exact values."""
    exact = network(torch.float32, seed)
    weights = dict(exact.model.diffusion_model.state_dict())
    kind = torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8)
    for name in [name for name in weights if name.endswith((".to_q.weight", ".to_v.weight", ".proj.weight"))]:
        layer, weight = name.removesuffix(".weight"), weights[name]
        scale = weight.abs().max() / 448
        stored = (weight / scale).to(torch.float8_e4m3fn)
        weight.copy_(stored.float() * scale)
        weights |= {name: stored, f"{layer}.weight_scale": scale, f"{layer}.comfy_quant": kind}
    base, unet_config = LAYOUTS["eps"]
    config = base(unet_config)
    config.set_inference_dtype(torch.float32, torch.float32)
    config.quant_config = {"mixed_ops": True}
    model = config.get_model({}, device=OFFLOADED)
    model.diffusion_model.load_state_dict(weights)
    return placed(model), exact


@pytest.mark.one_of(2)
@pytest.mark.parametrize("kind", ["LoRA", "DoRA"])
def test_quantized_layers(pack, by_rows, kind):
    """Core quantizes what it has patched; on the CPU, layers that it has not compute with the weights' exact values."""
    (ours, exact), (cores, _) = quantized(63), quantized(63)
    expected = by_brute_force(experts_on(exact, KINDS[kind]))
    result = by_rows(experts_on(ours, KINDS[kind]))
    assert distance(by_brute_force(experts_on(cores, KINDS[kind])), expected) > 1e-3
    assert distance(result, expected) < rounded(1e-5, 5e-4)


@pytest.mark.one_of(5)
@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_which_only_a_part_fits(pack, by_rows, limited, kind):
    ours, theirs = network(torch.float32, 64), network(torch.float32, 64)
    result = by_rows(experts_on(ours, KINDS[kind]))
    assert ours.model.model_lowvram
    assert distance(result, by_brute_force(experts_on(theirs, KINDS[kind]))) < rounded(1e-5, 5e-4)

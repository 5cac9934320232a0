"""MODELs that differ in adapters alone, in one batch, against brute force: each alone through core."""

from dataclasses import replace

import comfy.lora
import comfy.ops
import pytest
import torch

from ..support.adapters import Factors, adapted
from ..support.closeness import AGREEMENT, rounded
from ..support.oracle.guider import BruteForceGuider
from ..support.oracle.networks import network
from ..support.oracle.variants import experts_of

LINEAR, NARROW = ".attn2.to_q.weight", ".attn2.to_k.weight"
CONVOLUTION, POINTWISE, STRIDED = ".in_layers.2.weight", ".proj_in.weight", ".op.weight"
LOW_RANK, PATCHED = "LowRank", "PatchedPass"
KINDS = {
    "LoRA, linear": ("lora", LINEAR, LOW_RANK),
    "LoRA, few inputs": ("lora", NARROW, LOW_RANK),
    "LoRA, convolution": ("lora", CONVOLUTION, LOW_RANK),
    "LoRA, pointwise convolution": ("lora", POINTWISE, LOW_RANK),
    "LoRA, strided convolution": ("lora", STRIDED, LOW_RANK),
    "LoRA, Tucker": ("tucker", CONVOLUTION, LOW_RANK),
    "LoRA, embedded level": ("lora", ".emb_layers.1.weight", LOW_RANK),
    "difference, bias": ("difference", ".in_layers.2.bias", LOW_RANK),
    "difference, linear bias": ("difference", ".to_out.0.bias", LOW_RANK),
    "difference, linear": ("difference", LINEAR, PATCHED),
    "difference, norm": ("difference", ".norm2.weight", PATCHED),
    "difference, group norm": ("difference", ".in_layers.0.bias", PATCHED),
    "replacement, bias": ("replacement", ".in_layers.2.bias", PATCHED),
    "replacement, convolution": ("replacement", CONVOLUTION, PATCHED),
    "DoRA, linear": ("dora", LINEAR, PATCHED),
    "DoRA, convolution": ("dora", CONVOLUTION, PATCHED),
    "LoHa, linear": ("loha", LINEAR, PATCHED),
    "LoHa, convolution": ("loha", CONVOLUTION, PATCHED),
    "LoKr, linear": ("lokr", LINEAR, PATCHED),
    "LoKr, convolution": ("lokr", CONVOLUTION, PATCHED),
    "OFT, linear": ("oft", LINEAR, PATCHED),
    "BOFT, linear": ("boft", LINEAR, PATCHED),
    "GLoRA, linear": ("glora", LINEAR, PATCHED),
}


@pytest.fixture(scope="module")
def plain(pack):
    """One network twice: for the product, and for brute force."""
    return network("eps", 31), network("eps", 31)


@pytest.fixture
def agree(plain, assert_agree, guider_of, sampled, host):
    """Assert that a product of MODELs agrees with brute force; returns the forms in which adapters were added.

    The MODELs come from a function that makes them of a plain one.
    """

    @torch.inference_mode()
    def run(guider):
        return sampled(guider, shape=(1, 4, 8, 12))

    def check(make, grouped=True, **settings):
        ours, theirs = ([replace(expert, **settings) for expert in experts_of(make(model))] for model in plain)
        guider = guider_of(ours)
        groups = host.weights.adapter_groups.adapter_groups(guider.experts)
        assert [len(group.additions) for group in groups] == ([len(ours)] if grouped else [])
        result, expected = run(guider), run(BruteForceGuider(theirs))
        assert_agree(result, expected, rounded(AGREEMENT))
        apart = run(BruteForceGuider([theirs[0], replace(theirs[1], model=theirs[0].model)]))
        # Else agreement would say nothing.
        assert (apart - expected).abs().max() > 50 * AGREEMENT * expected.std()
        added = [layers for group in groups for layers in group.additions.values()]
        return {type(addition).__name__ for layers in added for addition in layers.values()}

    return check


@pytest.mark.one_of(12)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_adapter(agree, kind):
    name, ending, form = KINDS[kind]
    assert agree(lambda plain: [plain, adapted(plain, name, ending)]) == {form}


@pytest.mark.one_of(6)
@pytest.mark.parametrize("kind", ["lora", "loha", "difference", "oft"])
@pytest.mark.parametrize(("strength", "strength_model"), [(-0.6, 1.0), (1.3, 0.5)])
def test_strengths(agree, kind, strength, strength_model):
    settings = {"strength": strength, "strength_model": strength_model}
    low_rank = kind == "lora" and strength_model == 1.0
    forms = agree(lambda plain: [plain, adapted(plain, kind, LINEAR, **settings)])
    assert forms == {LOW_RANK if low_rank else PATCHED}


@pytest.mark.one_of(6)
@pytest.mark.parametrize("kind", ["lora", "difference"])
@pytest.mark.parametrize("ending", [LINEAR, CONVOLUTION])
@pytest.mark.parametrize("offset", [(0, 8, 16), (1, 4, 8)], ids=["outputs", "inputs"])
def test_slices_of_a_weight(agree, kind, ending, offset):
    def make(plain):
        other = plain.clone()
        weights = {name: weight for name, weight in plain.model.state_dict().items() if name.endswith(ending)}
        other.add_patches(
            {(name, offset): getattr(Factors(weight.narrow(*offset)), kind)() for name, weight in weights.items()}
        )
        assert other.patches.keys() == weights.keys()
        return [plain, other]

    assert agree(make) == {LOW_RANK if kind == "lora" else PATCHED}


def test_a_function_of_the_change(agree):
    def make(plain):
        other = plain.clone()
        weights = {name: weight for name, weight in plain.model.state_dict().items() if name.endswith(LINEAR)}
        whole = {name: (0, 0, len(weight)) for name, weight in weights.items()}
        other.add_patches({(name, whole[name], torch.tanh): Factors(weights[name]).lora() for name in weights})
        return [plain, other]

    assert agree(make) == {PATCHED}


def test_grouped_convolutions(host, pack):
    """A layer that no network of the oracle has, by itself."""
    layer = comfy.ops.disable_weight_init.Conv2d(8, 12, 3, groups=4, padding="same", padding_mode="circular")
    torch.nn.init.normal_(layer.weight), torch.nn.init.zeros_(layer.bias)
    patches = {"weight": [(0.7, Factors(layer.weight).lora(alpha=2.0), 1.0, None, None)]}
    exact = host.weights.patched_pass.PatchedPass(patches, "layer")
    low_rank = host.weights.low_rank.LowRank.of(layer, patches, exact)
    x, rows = torch.randn(5, 8, 6, 6), slice(1, 4)
    with torch.no_grad():
        plain = layer(x)
        ours, theirs = (each.add(layer, (x,), {}, plain.clone(), rows) for each in (low_rank, exact))
        layer.weight.copy_(comfy.lora.calculate_weight(patches["weight"], layer.weight.clone(), "layer"))
        expected = layer(x)
    for answer in (ours, theirs):
        torch.testing.assert_close(answer[rows], expected[rows], atol=1e-5, rtol=1e-5)
        assert torch.equal(answer[:1], plain[:1])
        assert torch.equal(answer[4:], plain[4:])


def stacked(plain, *kinds, seed=0):
    for place, kind in enumerate(kinds):
        plain = adapted(plain, kind, LINEAR, seed=seed + 100 * place, strength=0.6)
    return plain


CHAINS = {
    "LoRA first": lambda plain: [stacked(plain, "lora"), plain],
    "two stacked": lambda plain: [plain, stacked(plain, "lora", "lora")],
    "stacked, of two kinds": lambda plain: [plain, stacked(plain, "lora", "dora", "difference")],
    "neither plain": lambda plain: [stacked(plain, "lora"), stacked(plain, "lora", seed=7)],
    "three": lambda plain: [stacked(plain, "lora"), plain, stacked(plain, "loha", seed=7)],
    "one upon the other": lambda plain: (lambda first: [first, stacked(first, "lora", seed=7)])(stacked(plain, "dora")),
    "common to both": lambda plain: [
        stacked(common, "lora", seed=seed) for common in [stacked(plain, "lora")] for seed in (7, 8)
    ],
}


@pytest.mark.one_of(7)
@pytest.mark.parametrize("chain_name", CHAINS)
def test_chains(agree, chain_name):
    agree(CHAINS[chain_name])


def ramp():
    return torch.linspace(0, 1, 12).expand(1, 8, 12)


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    "settings",
    [{"mask": None, "end": 0.5}, {"reliability": 1.0, "weight": 0.5}, {"mask": ramp()}, {"start": 0.4}],
    ids=["window", "no null", "masked", "late"],
)
def test_masks_and_windows(plain, guider_of, sampled, assert_agree, settings):
    """On the second and third of three experts, of which the first two lend their nulls."""

    def experts(model):
        made = experts_of([model, stacked(model, "lora"), stacked(model, "lora", seed=9)])
        return [made[0], replace(made[1], **settings), replace(made[2], **{**settings, "reliability": 0.0})]

    with torch.inference_mode():
        result, expected = (
            sampled(guider, "euler_ancestral", 5)
            for guider in (guider_of(experts(plain[0])), BruteForceGuider(experts(plain[1])))
        )
    assert_agree(result, expected, rounded(AGREEMENT))

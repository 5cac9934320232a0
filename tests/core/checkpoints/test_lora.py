"""LoRA files: what was trained is what is loaded, and what fits no expert is refused."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mcdm_core import Condition, UNet, load_expert
from mcdm_core.checkpoints import CheckpointError
from mcdm_core.checkpoints.lora import save_lora, with_lora
from mcdm_core.networks.low_rank import add_low_rank, load_base, low_rank_of

from ...support.small_experts import write_expert

SHAPE = {"channel_mult": (1, 2), "attention_downsamplings": (2,), "map_channels": 1}
X, T = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([10.0, 700.0])
TOLD = Condition(maps=torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)))
PREFIX = "diffusion_model.network."
LAYER = PREFIX + "out.2"


@pytest.fixture
def expert(tmp_path):
    torch.manual_seed(0)
    write_expert(tmp_path / "hair.safetensors", {"kind": "map", "map": "hair"}, 16, None, SHAPE, "cosine")
    return load_expert(tmp_path / "hair.safetensors")


@pytest.fixture
def trained(expert):
    """The expert's network with changes of its weights, as training leaves them."""
    torch.manual_seed(3)
    network = UNet(expert.network.config)
    add_low_rank(network, 2)
    load_base(network, expert.network.state_dict())
    for change in low_rank_of(network).values():
        torch.nn.init.normal_(change.up, std=0.1)
    return network.eval()


@pytest.fixture
def file(trained, tmp_path):
    save_lora(tmp_path / "mine.safetensors", trained, {"steps": 3, "data": "Gesichter, grün"})
    return tmp_path / "mine.safetensors"


@torch.no_grad()
def output(network):
    return network(X, T, **TOLD.kwargs())


def test_what_was_trained_is_loaded(expert, trained, file):
    before = output(expert.network)
    loaded = with_lora(expert, file)
    torch.testing.assert_close(output(loaded.network), output(trained))
    assert (output(trained) - before).abs().max() > 0.05
    assert torch.equal(output(expert.network), before)  # the one given stays
    assert loaded.name == f"{expert.name} with mine"
    assert loaded.encoder is expert.encoder


def test_strength_scales_the_change(expert, trained, file):
    assert torch.equal(output(with_lora(expert, file, 0.0).network), output(expert.network))
    halved, tensors = with_lora(expert, file, 0.5), load_file(file)
    change = low_rank_of(trained)["out.2"]
    expected = expert.network.out[2].weight + 0.5 * torch.einsum("or,rikl->oikl", change.up[:, :, 0, 0], change.down)
    torch.testing.assert_close(halved.network.out[2].weight, expected)
    save_file(tensors | {f"{name}.alpha": torch.tensor(1.0) for name in layers(tensors)}, file)
    torch.testing.assert_close(output(with_lora(expert, file).network), output(halved.network))  # 1 of rank 2


@pytest.mark.parametrize(("strength", "error"), [(float("nan"), ValueError), (1e38, CheckpointError)])
def test_a_strength_that_no_weight_can_hold_is_refused(expert, file, strength, error):
    with pytest.raises(error, match="strength"):
        with_lora(expert, file, strength * 10)


def test_the_file_says_what_it_is(trained, file, tmp_path):
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["mcdm_lora"]) == {"steps": 3, "data": "Gesichter, grün"}
    save_lora(tmp_path / "half.safetensors", trained, {}, half=True)
    halves = load_file(tmp_path / "half.safetensors")
    assert halves[f"{LAYER}.lora_up.weight"].dtype == torch.float16
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * file.stat().st_size


def layers(tensors):
    return [name.removesuffix(".alpha") for name in tensors if name.endswith(".alpha")]


def only(tensors, *names):
    return {name: tensors[name] for name in names}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: {"weight": torch.zeros(1)}, "has no factors of a network's layers, and a LoRA of an expert has"),
        (lambda t: {name.removeprefix("diffusion_model."): v for name, v in t.items()}, "no factors"),
        (lambda t: t | {"lora_te_layer.alpha": torch.tensor(1.0)}, "has lora_te_layer.alpha, and a LoRA"),
        (lambda t: only(t, f"{LAYER}.lora_up.weight", f"{LAYER}.alpha"), r"has .*lora_down\.weight, and a LoRA"),
        (lambda t: t | {f"{LAYER}.lora_up.weight": torch.zeros(3, 5, 1, 1)}, r"don't fit each other, \(2, 32, 3, 3\)"),
        (
            lambda t: t | {f"{LAYER}.lora_up.weight": torch.zeros(4, 2, 1, 1)},
            r"changes out\.2 by \(4, 32, 3, 3\), which",
        ),
        (lambda t: {name.replace("out.2", "in.9"): v for name, v in t.items()}, r"changes in\.9 by .* does not have"),
        (lambda t: t | {f"{LAYER}.lora_down.weight": torch.zeros(0, 32, 3, 3)}, "don't fit each other"),
        (lambda t: t | {f"{LAYER}.lora_up.weight": torch.zeros(4)}, "don't fit each other"),
        (lambda t: t | {f"{LAYER}.alpha": torch.zeros(2)}, "don't fit each other"),
        (lambda t: t | {f"{LAYER}.alpha": torch.tensor(float("nan"))}, "NaN, infinite"),
        (lambda t: t | {f"{LAYER}.alpha": torch.tensor(1)}, "alpha in int64"),
    ],
)
def test_what_is_no_lora_of_the_expert_is_refused(expert, file, spoil, message):
    save_file(spoil(load_file(file)), file)
    with pytest.raises(CheckpointError, match=message):
        with_lora(expert, file)


def test_a_damaged_file_is_refused(expert, file):
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=file.name):
        with_lora(expert, file)

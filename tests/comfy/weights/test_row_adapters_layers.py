"""Layers with adapters that a network reads instead of calling, leaves out, or gives more than their input."""

import logging
from types import SimpleNamespace

import comfy.ops
import pytest
import torch

from ..support.adapters import Factors, patched
from ..support.closeness import AGREEMENT, rounded
from ..support.families import layers
from ..support.oracle.guider import BruteForceGuider
from ..support.oracle.variants import experts_of

STEPS = 2

# What a layer is given beside its input x, shape (B, 3, C).
GIVEN = {
    "tensors of rows": lambda x: {"scale": [x.mean((1, 2), keepdim=True)], "residual": x.flip(1)},
    "a number": lambda x: {"scale": [x.new_tensor(0.7)], "residual": None},
    "a tensor of columns": lambda x: {"scale": (x.new_ones(1, 1, x.shape[2]) / 2,), "residual": x},
    "a function": lambda x: {"finish": lambda answer: answer + x},
    "what it writes into": lambda x: {"residual": x.clone(), "finish": "in place"},
}


@pytest.fixture
def assert_agree(assert_agree, guider_of, sampled, host):
    """Assert that a product of a MODEL and a clone of it with an adapter agrees with brute force.

    Both come from a function that makes them of a plain MODEL, of which there are two that share nothing.
    """

    def run(guider):  # not in inference mode, in which core can't move quantized weights on the CPU
        return sampled(guider, steps=STEPS, shape=(1, 4, 8, 12))

    def check(plain, make):
        ours, theirs = (experts_of(make(model)) for model in plain)
        guider = guider_of(ours)
        assert [len(group.additions) for group in host.weights.adapter_groups.adapter_groups(guider.experts)] == [2]
        result, expected = run(guider), run(BruteForceGuider(theirs))
        assert_agree(result, expected, rounded(AGREEMENT))
        without = run(BruteForceGuider(experts_of([theirs[0].model] * 2)))
        # Else agreement would say nothing.
        assert (without - expected).abs().max() > 50 * AGREEMENT * expected.std()

    return check


def with_lora(*endings):
    """A MODEL and a clone of it with a LoRA on layers whose names end so."""

    def make(plain):
        found = dict(plain.model.diffusion_model.named_parameters())
        weights = {name: found[name] for name in found if name.endswith(tuple(f"{each}.weight" for each in endings))}
        assert len(weights) == len(endings)
        changes = {f"diffusion_model.{name}": Factors(weight).lora() for name, weight in weights.items()}
        return [plain, patched(plain, changes, 0.5)]

    return make


@pytest.fixture
def exchanged(host, caplog):
    """Gives why MODELs had their weights exchanged that could have added their adapters to rows, by the log."""
    caplog.set_level(logging.DEBUG, host.weights.row_adapters.logger.name)
    told = "differ in adapters have their weights exchanged: "
    return lambda: [text.partition(told)[2] for text in caplog.messages if told in text]


@pytest.mark.parametrize("dynamic", [False, True], ids=["", "dynamic VRAM"])
@pytest.mark.parametrize("family", ["LTX", "Wan", "H3", "music"])
def test_int8_layers_that_are_read(assert_agree, exchanged, family, dynamic, request):
    if dynamic:
        request.getfixturevalue("dynamic_vram")
    layer = f"part.{layers.READ[family][1]}"
    assert_agree([layers.model_of(layers.feed_forward(family), 5, int8=True) for _ in range(2)], with_lora(layer))
    assert exchanged() == [f"diffusion_model.{layer} is read without being called."]


class WithResidual(torch.nn.Module):
    """A feed-forward as newer cores write it."""

    def __init__(self, ops):
        super().__init__()
        self.net = torch.nn.Sequential(ops.Linear(128, 256), torch.nn.Dropout(0.0), ops.Linear(256, 128))

    def forward(self, x):
        scale = x.new_full((128,), 0.3)
        return comfy.ops.linear_input_act(self.net[2], self.net[0](x), "gelu_tanh", residual=x, residual_scale=scale)


def test_layers_that_newer_cores_read_in_other_dtypes_too(assert_agree, exchanged, monkeypatch):
    def linear_input_act(linear, x, input_act, residual, residual_scale):
        weight, bias, stream = comfy.ops.cast_bias_weight(linear, x, offloadable=True)
        answer = torch.nn.functional.linear(torch.nn.functional.gelu(x, approximate="tanh"), weight, bias)
        comfy.ops.uncast_bias_weight(linear, weight, bias, stream)
        return torch.addcmul(residual, answer, residual_scale)

    monkeypatch.setattr(comfy.ops, "linear_input_act", linear_input_act, raising=False)
    assert_agree([layers.model_of(WithResidual, 5) for _ in range(2)], with_lora("net.0", "net.2"))
    assert exchanged() == ["diffusion_model.part.net.2 is read without being called."]


def test_int8_layers_that_are_read_for_the_conditioning(assert_agree, exchanged):
    """As the connectors of LTX's text, which ComfyUI asks once before the passes."""

    def with_connector(ops):
        part = layers.feed_forward("H3")(ops)
        part.connector = layers.feed_forward("LTX")(ops)
        return part

    def model():
        made = layers.model_of(with_connector, 5, int8=True)
        core, network = made.model.extra_conds, made.model.diffusion_model

        def extra_conds(cross_attn, **given):
            width = layers.WIDTH - cross_attn.shape[-1]
            text = network.part.connector(torch.nn.functional.pad(cross_attn, (0, width)).float())
            return core(cross_attn=text.tanh() * 8, **given)

        made.model.extra_conds = extra_conds
        return made

    assert_agree([model(), model()], with_lora("connector.net.2"))
    assert exchanged() == ["diffusion_model.part.connector.net.2 is read without being called."]


@pytest.mark.parametrize("nested", [False, True], ids=["", "in a list"])
def test_layers_that_are_left_out_need_no_exchange(assert_agree, exchanged, nested):
    """Also where ComfyUI reads the shape of their weights before the passes, as it does of Wan's first layer."""

    def with_unused(ops):
        part = torch.nn.Sequential(ops.Linear(layers.WIDTH, layers.WIDTH))
        part.forward = lambda x: part[0](x)
        unused = ops.Linear(layers.WIDTH, layers.WIDTH)
        part.unused = torch.nn.Sequential(unused) if nested else unused
        return part

    def model():
        made = layers.model_of(with_unused, 5)
        core, unused = made.model.extra_conds, made.model.diffusion_model.part.unused
        layer = unused[0] if nested else unused
        made.model.extra_conds = lambda **given: core(**given) if layer.weight.shape[1] == layers.WIDTH else None
        return made

    assert_agree([model(), model()], with_lora("part.0", "unused.0" if nested else "unused"))
    assert not exchanged()


@pytest.fixture(params=GIVEN)
def given(request):
    """How a layer is given more than its input, and a network of such a layer."""

    class Layer(comfy.ops.manual_cast.Linear):
        def forward(self, x, scale=None, residual=None, finish=None):
            answer = super().forward(x if scale is None else x * scale[0])
            if callable(finish):
                return finish(answer)
            if finish == "in place":
                return residual.add_(answer)
            return answer if residual is None else residual + answer

    class Part(torch.nn.Module):
        def __init__(self, ops):
            super().__init__()
            self.layer = Layer(layers.WIDTH, layers.WIDTH)

        def forward(self, x):
            return self.layer(x, **GIVEN[request.param](x))

    return request.param, lambda: layers.model_of(Part, 5)


def test_layers_that_are_given_more_than_their_input(given, assert_agree, exchanged, passes):
    name, model = given
    plain = model(), model()
    passes.watch(SimpleNamespace(model=plain[0]))
    assert_agree(plain, with_lora("layer"))
    rows = [call.rows for call in passes.found[2:]]
    if name in ("tensors of rows", "a number"):
        assert rows == [4]
    elif name == "a tensor of columns":
        assert rows == [2, 2]
    assert bool(exchanged()) is (name in ("a function", "what it writes into"))

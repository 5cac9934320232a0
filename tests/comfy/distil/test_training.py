"""Train LoRA on Product: cancelled and resumed, refused, run again and again, and wherever weights are kept."""

from dataclasses import replace

import comfy.model_management
import comfy.utils
import pytest
import torch
from comfy.quant_ops import QuantizedTensor

from ..support.clones import lora_on
from ..support.closeness import rounded
from ..support.leaks import Living, state_of
from ..support.oracle.networks import network


@pytest.fixture
def cancelling(monkeypatch):
    """Ask ComfyUI to cancel at the n-th call of a MODEL's network."""

    def cancel(model, call):
        network, calls = model.model.diffusion_model, iter(range(1, 10_000))
        forward = network.forward

        def counted(*args, **kwargs):
            if next(calls) == call:
                comfy.model_management.interrupt_current_processing()
            return forward(*args, **kwargs)

        monkeypatch.setattr(network, "forward", counted)

    return cancel


@pytest.mark.one_of(2)
@pytest.mark.parametrize("call", [3, 20, 24, 35], ids=["teacher", "student", "later", "again the teacher"])
def test_a_cancelled_run_goes_on_to_the_same_lora(given, train, base, cancelling, call):
    whole = train(given("flow", steps=13))
    inputs, folder = given("flow", steps=13), base / "output" / "mcdm_loras" / "mix"
    cancelling(inputs["model"][0], call)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(inputs)
    assert (folder / "state.pt").exists()
    resumed = train(inputs)
    assert resumed[1]["loss"] == whole[1]["loss"]
    assert all(torch.equal(whole[0][name], resumed[0][name]) for name in whole[0])
    assert not folder.exists()


def test_a_state_goes_on_with_what_it_was_begun_with_alone(given, train, cancelling):
    inputs = given("flow", steps=13)
    cancelling(inputs["model"][0], 24)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(inputs)
    for changes in ({"seed": [4]}, {"positive": given("flow", prompts=2)["positive"][1:]}):
        with pytest.raises(ValueError, match="with which the run mix was begun, and some are others"):
            train({**inputs, **changes})
    assert len(train({**inputs, "seed": [4], "resume": [False]})[1]["loss"]) == 13


@pytest.fixture
def told(host, chain):
    """The fingerprint of a chain."""
    return lambda *experts: host.distil.fingerprints.fingerprint_of(chain(*experts))


def test_other_classes_and_maps_are_told_apart(load, node, told):
    animals, hair = load("class"), load("hair")
    owl, _ = node("MCDM_EncodeClass", encoder=animals.encoder, class_name="owl", null_kind="class 0")
    part, _ = node("MCDM_EncodeMap", encoder=hair.encoder, map="auto", with_text=False, mask=torch.eye(32)[None])
    assert told(animals) == told(animals) != told((animals, {"condition": owl}))
    assert told(hair) == told(hair) != told((hair, {"condition": part}))


def test_other_loras_of_the_same_layers_are_told_apart(bare, told):
    expert = bare(0)
    one, same, other = (replace(expert, model=lora_on(expert.model, seed, 0.3)) for seed in (21, 21, 22))
    assert told(one) == told(same) != told(other)


def quantized(inputs):
    layer = inputs["model"][0].model.diffusion_model.final_layer.linear
    weight = QuantizedTensor.from_float(layer.weight.detach().clone(), "TensorCoreFP8E4M3Layout")
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    return inputs


def of_another_space(inputs):
    return {**inputs, "model": [network("Flux", 1)]}


def without_a_gradient(inputs):
    layer = inputs["model"][0].model.diffusion_model.final_layer
    forward = layer.forward
    layer.forward = lambda *args, **kwargs: forward(*args, **kwargs).detach()
    return inputs


def short_of_memory(inputs):
    network = inputs["model"][0].model.diffusion_model

    def fail(*args, **kwargs):
        raise torch.cuda.OutOfMemoryError("out of memory")

    network.forward = fail
    return inputs


MISTAKES = {
    "no prompt": (lambda inputs: {**inputs, "positive": [[]]}, "Expected a prompt for the student"),
    "another space": (of_another_space, "Expected experts and a student of one latent space"),
    "quantized": (quantized, "final_layer.linear are quantized"),
    "no gradient": (without_a_gradient, "Expected a student that gives gradients"),
    "memory": (short_of_memory, "Expected memory for a step of 2 samples of 4×8×12"),
    "a prompt of another model": (
        lambda inputs: {**inputs, "positive": [[[torch.zeros(1, 4, 7), {}]]]},
        "values per token for the student and got 7",
    ),
    "lists": (lambda inputs: {**inputs, "positive": inputs["positive"] * 2}, "as chains of experts, 1, and got 2"),
    "steps": (lambda inputs: {**inputs, "steps": [0]}, "Expected 1 or more for steps and got 0"),
    "batch size": (lambda inputs: {**inputs, "batch_size": [0]}, "Expected 1 or more for batch_size and got 0"),
    "rank": (lambda inputs: {**inputs, "rank": [0]}, "Expected 1 or more for rank and got 0"),
    "levels": (
        lambda inputs: {**inputs, "sigmas": [inputs["sigmas"][0][-3:]]},
        "choose a scheduler that begins there, such as normal",
    ),
    "a level without a step": (
        lambda inputs: {**inputs, "sigmas": [inputs["sigmas"][0][:1]]},
        "Expected the noise levels of a run of 1 step or more and got 1; connect a scheduler's, whole",
    ),
    "levels of a picture": (  # of a flow, whose 0.75 is a σ of 3
        lambda inputs: {**inputs, "sigmas": [torch.tensor([0.75, 0.4, 0.0])]},
        "from the highest, 1, down, .* and got 0.75 as the first",
    ),
    "rule": (lambda inputs: {**inputs, "rule": ["sum"]}, "Expected product or own-negative for rule and got sum"),
    "training dtype": (
        lambda inputs: {**inputs, "training_dtype": ["fp16"]},
        "Expected bf16 or fp32 or none for training_dtype and got fp16",
    ),
    "LoRA's dtype": (
        lambda inputs: {**inputs, "lora_dtype": ["fp16"]},
        "Expected bf16 or fp32 for lora_dtype and got fp16",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_before_anything_is_asked(given, train, base, mistake):
    change, sentence = MISTAKES[mistake]
    with torch.inference_mode():
        inputs = change(given("flow"))
    asked = []
    for expert in inputs["experts"][0]:
        expert.model.add_wrapper("diffusion_model", lambda executor, *a, **k: asked.append(1) or executor(*a, **k))
    with pytest.raises(ValueError, match=sentence) as refused:
        train(inputs)
    assert str(refused.value).count(". ") == 0
    assert not asked
    assert not (base / "output" / "mcdm_loras").exists()


@pytest.mark.long
def test_runs_leave_nothing(given, train):
    inputs = given("flow", steps=1)
    train(inputs)
    models = [inputs["model"][0], *(expert.model for expert in inputs["experts"][0])]
    before, living = state_of(*models), Living.now()
    for _ in range(20):
        train(inputs)
    after = Living.now()
    assert state_of(*models) == before
    assert (after.tensors, after.nbytes) == (living.tensors, living.nbytes)


def test_the_bar_shows_each_step(given, train, progress, every_step):
    train(given("flow", steps=3))
    assert [each for each in progress if each[1] == 3] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_run_that_the_bar_cancels_keeps_the_step_before(given, train, base, monkeypatch, every_step):
    """ComfyUI's bar raises where a run is cancelled."""

    def hook(value, total, *_, **__):
        if (value, total) == (25, 26):
            raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(given("flow", steps=26, batch_size=1))
    folder = base / "output" / "mcdm_loras" / "mix"
    state = torch.load(folder / "state.pt")
    assert (state["step"], state["losses"], len(state["history"])) == (25, [], 25)
    assert (folder / "loss.csv").read_text().splitlines()[1].startswith("25,")


def compared(first, second, within):
    losses = [torch.tensor(each[1]["loss"]) for each in (first, second)]
    torch.testing.assert_close(*losses, rtol=within, atol=0)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("layout", ["eps", "flow"])
def test_partly_loaded_it_learns_the_same(given, train, layout, request):
    whole = train(given(layout, steps=4))
    request.getfixturevalue("limited")
    compared(train(given(layout, steps=4)), whole, rounded(1e-3, 0.2))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("layout", ["eps", "flow"])
def test_with_dynamic_vram_it_learns_the_same(given, train, layout, request):
    """Also where pages are taken away between a layer's output and its gradient."""
    whole = train(given(layout, steps=4))
    memory = request.getfixturevalue("dynamic_vram")
    inputs = given(layout, steps=4)
    assert inputs["model"][0].is_dynamic()
    memory.budget = inputs["model"][0].model_size() // 3
    compared(train(inputs), whole, rounded(1e-3, 0.2))
    assert memory.freed > 0


def test_it_learns_on_pages_that_a_picture_was_drawn_with(given, train, node, dynamic_vram):
    """They were written in inference mode, and autograd can keep nothing of them."""
    with torch.inference_mode():
        base = network("eps", 5)
        inputs = given("eps", base=base, models=[base, base], steps=1, training_dtype="none")
        drawn = {"seed": 1, "steps": 1, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
        node("MCDM_KSampler", experts=inputs["experts"][0], latent_image=inputs["latents"][0], **drawn)
    assert any(hasattr(module, "_v_weight") for module in base.model.modules())
    assert train(inputs)[1]["loss"][0] > 0

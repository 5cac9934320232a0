"""Runs of MODELs that differ in adapters alone: their calls, when they don't share one, and what they leave behind."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import comfy.model_management
import comfy.ops
import comfy.samplers
import pytest
import torch
from comfy.latent_formats import SD15
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_merging import ModelMergeSimple
from comfy_extras.nodes_sag import SelfAttentionGuidance

from ..support import small_runs
from ..support.adapters import adapted, patched
from ..support.attachments import split
from ..support.closeness import AGREEMENT, rounded
from ..support.core_samplers import cancelled_at
from ..support.families import FAMILIES, small
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.guider import BruteForceGuider
from ..support.oracle.networks import fill, network
from ..support.oracle.variants import experts_of, patch_attention
from ..support.places import around, placed

STEPS = 4
LINEAR = ".attn2.to_q.weight"


@pytest.fixture
def guider_of(guider_of):
    """Product Guider on MODELs."""
    return lambda models: guider_of(experts_of(models))


@torch.inference_mode()  # as ComfyUI runs nodes
def sampled(guider, batch=1, sampler="euler", steps=STEPS):
    return small_runs.sampled(guider, sampler, steps, (batch, 4, 8, 12))


def assert_agree(ours, models, hooks_ask=False, **run):
    """With brute force on MODELs that share nothing with ours."""
    expected = sampled(BruteForceGuider(experts_of(models), hooks_ask), **run)
    assert (ours - expected).abs().max() <= rounded(AGREEMENT) * expected.std()


@pytest.fixture
def calls(passes):
    """Watch a MODEL's network; returns its calls."""

    def watch(model):
        passes.watch(SimpleNamespace(model=model))
        return passes.found

    return watch


@pytest.fixture
def weights_put(monkeypatch):
    """The MODELs whose weights are put into a network while it samples, by loading or by exchange."""
    put, patch = [], ModelPatcher.patch_model
    monkeypatch.setattr(ModelPatcher, "patch_model", lambda self, *a, **kw: put.append(self) or patch(self, *a, **kw))
    return put


def with_loras(plain, *seeds, ending=LINEAR):
    return [adapted(plain, "lora", ending, seed) for seed in seeds]


def test_three_experts_of_one_checkpoint_run_in_one_call(guider_of, calls, weights_put):
    """But for the first step, which is asked one by one to see where the rows are."""
    plain = network("eps", 41)
    models, found = [plain, *with_loras(plain, 1, 2)], calls(plain)
    result = sampled(guider_of(models), batch=2)
    by_expert = [4, 4, 4]  # a batch of 2 under a condition and a null
    assert [call.rows for call in found] == [*by_expert, *[sum(by_expert)] * (STEPS - 1)]
    assert all(sorted(call.roles) == [0, 0, 0, 1, 1, 1] for call in found[3:])
    assert weights_put == [plain]
    other = network("eps", 41)
    assert_agree(result, [other, *with_loras(other, 1, 2)], batch=2)


def test_the_checkpoint_is_loaded_where_no_expert_is_plain(guider_of, calls, weights_put):
    plain = network("v", 42)
    found = calls(plain)
    result = sampled(guider_of(with_loras(plain, 1, 2)))
    assert [call.rows for call in found] == [2, 2, *[4] * (STEPS - 1)]
    assert weights_put == [plain]
    assert_agree(result, with_loras(network("v", 42), 1, 2))


def test_experts_that_also_differ_otherwise_keep_their_own_calls(guider_of, calls):
    def models(plain):
        patched = patch_attention(plain)
        return [plain, *with_loras(plain, 1), patched, *with_loras(patched, 2)][:3]

    plain = network("eps", 43)
    found = calls(plain)
    result = sampled(guider_of(models(plain)))
    assert [call.rows for call in found[3:]] == [4, 2] * (STEPS - 1)
    assert_agree(result, models(network("eps", 43)))


def test_guidance_that_calls_the_network_itself(guider_of):
    """SAG asks the reference once more, with its adapters and no other's."""

    def models(plain):
        (first,) = with_loras(plain, 1)
        return [SelfAttentionGuidance.execute(first, 0.7, 2.0).args[0], plain]

    assert_agree(sampled(guider_of(models(network("eps", 44)))), models(network("eps", 44)), hooks_ask=True)


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("most", "first"), [(1, [1, 1, 1, 1]), (2, [2, 2])], ids=["each row", "pairs of rows"])
def test_a_wrapper_that_splits_the_batch(guider_of, calls, weights_put, host, caplog, most, first):
    """Rows can't be told inside, so each MODEL has a pass of its own, still without a switch.

    Pairs are noticed in the first pass that was to be shared, in the second step; it is given up and counts for
    nothing, and the log says so.
    """
    caplog.set_level(logging.INFO, host.weights.row_adapters.logger.name)

    def models(plain):
        wrapped = plain.clone()
        wrapped.set_model_unet_function_wrapper(split(most))
        return [wrapped, *with_loras(wrapped, 1)]

    plain = network("eps", 45)
    found = calls(plain)
    result = sampled(guider_of(models(plain)))
    given_up = [] if most == 1 else [2]
    assert [call.rows for call in found] == [*first, *given_up, *first * (STEPS - 1)]
    assert len(weights_put) == 1
    told = [text for text in caplog.messages if "are asked one after the other" in text]
    assert [text.partition(" that ")[0] for text in told] == (["From now on, experts"] if given_up else [])
    assert_agree(result, models(network("eps", 45)))


def video_network(seed):
    """Stable Video Diffusion's layout, which folds frames into rows and places into the rows of its temporal layers."""
    return small.network("SVD_img2vid", FAMILIES["SVD_img2vid"], seed)


@pytest.mark.long
@pytest.mark.parametrize(
    ("ending", "batched"),
    [("transformer_blocks.0.attn2.to_q.weight", True), ("time_stack.0.attn1.to_q.weight", False)],
    ids=["pictures", "time"],
)
def test_videos_whose_frames_are_rows(guider_of, calls, weights_put, ending, batched):
    """The layers of pictures have a row for each frame; those of time have one for each place."""

    def models(plain):
        return [plain, *with_loras(plain, 1, ending=ending)]

    plain = video_network(46)
    found = calls(plain)
    result = sampled(guider_of(models(plain)), batch=3)
    rows = [12] * (STEPS - 1) if batched else [6, 6] * (STEPS - 1)
    assert [call.rows for call in found] == [6, 6, *rows]  # three frames, under a condition and a null
    assert weights_put == [plain]
    assert_agree(result, models(video_network(46)), batch=3)


class SequenceFirst(torch.nn.Module):
    """A network whose layer sees (L, B, C), with a sequence as long as the batch of four rows."""

    dtype = torch.float32

    def __init__(self, operations):
        super().__init__()
        self.mix = operations.Linear(24, 24)
        self.scale = torch.nn.Parameter(torch.ones(4))
        self.direct = operations.Linear(4, 4)
        self.idle = torch.nn.Sequential(operations.Linear(4, 4))

    def forward(self, x, t, context=None, control=None, transformer_options=None, **kwargs):
        places = self.mix(x.flatten(2).reshape(len(x), 4, 4, 24)[:, 0].transpose(0, 1)).transpose(0, 1)
        x = x + places.mean(1).reshape(len(x), 1, 4, 6).repeat(1, 1, 2, 2) + context.mean((1, 2))[:, None, None, None]
        return torch.einsum("bchw,dc->bdhw", x, self.direct.weight) * self.scale[:, None, None]


@pytest.fixture
def sequences(pack):
    """A MODEL of that network."""

    def make(seed):
        network = SequenceFirst(comfy.ops.disable_weight_init)
        fill(network, seed)
        return placed(around(network, SD15))

    return make


@pytest.mark.parametrize("ending", ["mix.weight", ("mix.weight", "idle.0.weight")], ids=["", "and an unused layer"])
def test_a_sequence_as_long_as_the_batch_is_not_taken_for_it(sequences, guider_of, calls, weights_put, ending):
    """A condition and a null of two experts are four rows."""

    def models(plain):
        return [plain, *with_loras(plain, 1, ending=ending)]

    plain = sequences(47)
    found = calls(plain)
    result = sampled(guider_of(models(plain)))
    assert [call.rows for call in found] == [2, 2] * STEPS
    assert weights_put == [plain]
    assert_agree(result, models(sequences(47)))


@pytest.mark.parametrize("parameter", ["scale", "direct.weight"])
def test_weights_that_no_layer_adds_to_are_exchanged(sequences, guider_of, weights_put, parameter):
    """A parameter without a layer, and one of a layer that is read without being called."""

    def models(plain):
        change = torch.randn(plain.model.diffusion_model.get_parameter(parameter).shape, generator=seeded())
        return [plain, patched(plain, {f"diffusion_model.{parameter}": ("diff", (change,))})]

    def seeded():
        return torch.Generator().manual_seed(5)

    plain = sequences(48)
    made = models(plain)
    result = sampled(guider_of(made))
    assert set(weights_put) == set(made)
    assert_agree(result, models(sequences(48)))


@pytest.mark.parametrize("parameter", ["mix.weight", "direct.weight"])
def test_an_expert_that_is_asked_nothing_at_first(sequences, guider_of, node, weights_put, parameter):
    """Its conditioning begins halfway, so that its first pass asks the network nothing."""

    def experts(plain):
        shape = plain.model.diffusion_model.get_parameter(parameter).shape
        change = torch.randn(shape, generator=torch.Generator().manual_seed(5))
        made = experts_of([patched(plain, {f"diffusion_model.{parameter}": ("diff", (change,))}), plain])
        late = [[tokens, {**values, "start_percent": 0.5}] for tokens, values in made[0].condition]
        first = replace(made[0], condition=late, reliability=0.0)
        return [first, made[1]]

    chain = ()
    for expert in experts(sequences(49)):
        (chain,) = node("MCDM_Expert", experts=chain, **vars(expert))
    ours, put = sampled(node("MCDM_Guider", experts=chain)[0]), len(set(weights_put))
    expected = sampled(BruteForceGuider(experts(sequences(49))))
    assert (ours - expected).abs().max() <= rounded(AGREEMENT) * expected.std()
    assert put == (1 if parameter == "mix.weight" else 2)  # `direct` is read without being called


def test_merges_are_exchanged(guider_of, weights_put):
    """A merge is as large as the network, and would be computed anew in every layer of every pass."""

    def models(plain):
        return [plain, ModelMergeSimple().merge(plain, network("eps", 52), 0.4)[0]]

    made = models(network("eps", 51))
    result = sampled(guider_of(made))
    assert set(weights_put) == set(made)
    assert_agree(result, models(network("eps", 51)))


def test_a_product_as_model(node, calls, weights_put):
    """The MODEL that the node makes of the reference is another one, which predicts alike."""
    plain = network("eps", 53)
    found = calls(plain)
    first, second = experts_of([plain, *with_loras(plain, 1)])
    (chain,) = node("MCDM_Expert", **vars(second))
    (model,) = node("MCDM_ProductModel", model=plain, reliability=first.reliability, experts=chain)
    result = sampled(core_guider(first, model=model))
    assert [call.rows for call in found] == [2, 2, *[4] * (STEPS - 1)]
    assert set(weights_put) == {model}
    other = network("eps", 53)
    assert_agree(result, [other, *with_loras(other, 1)])


def hooks_of(model):
    """Of all modules of a MODEL's network, those of torch, and what stands in for their parameters."""
    watched = [module for module in model.model.modules() if type(module._parameters) is not dict]
    return watched + [
        vars(module)[name]
        for module in model.model.modules()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
        if vars(module).get(name)
    ]


def test_no_hook_is_left(guider_of):
    plain = network("eps", 49)
    models = [plain, *with_loras(plain, 1)]
    seen = []

    def look(model, x, sigmas, extra_args, **kwargs):
        model(x, sigmas[:1], **extra_args)
        seen.extend(hooks_of(plain))
        return x

    weights = {name: value.clone() for name, value in plain.model.state_dict().items()}
    sampled(guider_of(models), sampler=look)
    assert seen
    assert not hooks_of(plain)
    for step in range(STEPS):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            sampled(guider_of(models), sampler=cancelled_at(step))
        assert not hooks_of(plain)

    def fail(*args):
        raise RuntimeError("out of memory")

    handle = plain.model.diffusion_model.out.register_forward_hook(fail)
    with handle, pytest.raises(RuntimeError, match="out of memory"):
        sampled(guider_of(models))
    assert not hooks_of(plain)
    assert all(torch.equal(value.cpu(), weights[name]) for name, value in plain.model.state_dict().items())

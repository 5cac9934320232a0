"""MODELs of one network with dynamic VRAM: each gives its own answer, and none of them is loaded in another's place."""

import logging

import comfy.model_management
import pytest
import torch
from comfy.k_diffusion.sampling import sample_euler

from ..support import attachments, clones
from ..support.closeness import rounded
from ..support.core_samplers import cancelled_at
from ..support.leaks import Living
from ..support.oracle.networks import network
from ..support.oracle.variants import experts_of

STEPS = 3
pytestmark = pytest.mark.usefixtures("dynamic_vram")


GROUPS = [
    ("plain", "LoRA", "another LoRA"),
    ("LoRA", "plain", "LoRA on the LoRA"),
    ("plain", "small layers"),
    ("small layers", "LoRA"),
    ("plain", "resized", "LoRA"),
    ("resized", "plain"),
    ("plain", "EDM schedule"),
    ("EDM schedule", "plain"),
    ("discrete schedule", "EDM schedule", "plain"),
    ("LoRA and schedule", "LoRA", "plain"),
]


@pytest.fixture
def models():
    """MODELs by their names in `MADE`: clones of one network, or each of a network of its own that is its equal.

    All but the first have wrappers of their own, so that weights are exchanged, unless they are to share passes.
    """

    def make(names, dtype=torch.float32, apart=False, disable_dynamic=False, sharing=False):
        def base():
            return network("eps", 1, dtype, disable_dynamic)

        together = base()
        made = [clones.MADE[name](base() if apart else together) for name in names]
        return made if sharing else [made[0], *map(attachments.apart, made[1:])]

    return make


@pytest.fixture
def guider_of(guider_of):
    """Product Guider over MODELs."""
    return lambda models: guider_of(experts_of(models))


@pytest.fixture
def sampled(guider_of, sampled):
    """Sample a product of MODELs, as ComfyUI runs nodes."""

    @torch.inference_mode()
    def run(models, steps=STEPS, function="euler", guider=None):
        return sampled(guider or guider_of(models), function, steps, (1, 4, 8, 12))

    return run


@pytest.mark.one_of(10)
@pytest.mark.parametrize("names", GROUPS, ids=" + ".join)
def test_each_gives_its_own_answer(models, sampled, dynamic_vram, names):
    """Half the network in memory, and all of it."""
    together, apart = models(names), models(names, apart=True)
    assert together[0].is_dynamic()
    expected = sampled(apart)
    for share in (0.5, 2.0):
        dynamic_vram.free_all()
        dynamic_vram.reset()
        dynamic_vram.budget = int(share * together[0].model_size())
        assert (sampled(together) - expected).abs().max() <= rounded(0.0) * expected.std()
        assert dynamic_vram.loads == 1
        assert dynamic_vram.freed == 0
        assert dynamic_vram.used <= dynamic_vram.budget


@pytest.mark.long
@pytest.mark.parametrize("names", [("plain", "other layers"), ("other layers", "LoRA")], ids=" + ".join)
def test_what_only_loading_can_exchange(models, sampled, dynamic_vram, caplog, names):
    together, expected = models(names), sampled(models(names, apart=True))
    at_first = clones.contents(together)
    dynamic_vram.reset()
    for _ in range(2):
        caplog.clear()
        assert torch.equal(sampled(together), expected)
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert "has a node's layers in place of diffusion_model.out.0, diffusion_model.middle" in warning
    assert dynamic_vram.loads > STEPS
    comfy.model_management.unload_all_models()
    sampled(together[::-1])
    sampled(together[:1])
    comfy.model_management.unload_all_models()
    clones.assert_same_weights(clones.contents(together), at_first)


def test_they_are_what_classic_models_are(models, sampled):
    names = GROUPS[0]
    dynamic, classic = sampled(models(names)), sampled(models(names, disable_dynamic=True))
    assert (dynamic - classic).abs().max() <= rounded(0.0) * classic.std()


@pytest.mark.one_of(2)
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_base_and_two_loras_run_in_one_batch(models, sampled, dynamic_vram, caplog, share):
    """Nothing is exchanged: the network is loaded once and fetched once, as far as it fits."""
    names, rows, steps = GROUPS[0], [], 8
    together, expected = models(names, sharing=True), sampled(models(names, apart=True), steps)
    dynamic_vram.free_all()
    dynamic_vram.reset()
    dynamic_vram.budget = int(share * together[0].model_size())
    network = together[0].model.diffusion_model
    with network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0]))), caplog.at_level(logging.WARNING):
        ours = sampled(together, steps)
    assert (ours - expected).abs().max() <= rounded(1e-4) * expected.std()
    assert not [record for record in caplog.records if record.name.startswith("mcdm")]
    assert dynamic_vram.loads == 1
    assert dynamic_vram.freed == 0
    assert rows == [2] * 3 + [6] * (steps - 1)  # the first step looks whose rows are whose
    if share > 1:
        paged = [module for module in together[0].model.modules() if hasattr(module, "_v")]
        assert dynamic_vram.copied == sum(module._v[2] for module in paged)


def test_what_a_base_and_two_loras_cost_where_they_are_exchanged(models, sampled, dynamic_vram, caplog):
    """The network is loaded once; at each switch those weights alone are fetched that differ."""
    together, rows, steps = models(("plain", "LoRA", "another LoRA")), [], 8
    network = together[0].model.diffusion_model
    with network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0]))), caplog.at_level(logging.WARNING):
        sampled(together, steps)
    assert not [record for record in caplog.records if record.name.startswith("mcdm")]
    assert dynamic_vram.loads == 1
    assert dynamic_vram.freed == 0
    assert rows == [2] * 3 * steps  # a batch of the condition and the null for each
    changed = {key.rpartition(".")[0] for key in together[1].patches}
    paged = {name: module for name, module in together[0].model.named_modules() if hasattr(module, "_v")}
    sizes = {name: module._v[2] for name, module in paged.items()}
    differing = sum(size for name, size in sizes.items() if name in changed)
    assert 0 < differing < sum(sizes.values())
    switches = 2 * steps  # a step begins with the MODEL that is in place
    assert dynamic_vram.copied == sum(sizes.values()) + switches * differing


@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("sharing", [True, False], ids=["by rows", "exchanged"])
def test_in_smaller_formats(models, sampled, dynamic_vram, dtype, share, sharing):
    """No worse than ComfyUI's own patching of each MODEL alone, which rounds at random."""
    names = ("plain", "LoRA", "another LoRA")
    together, apart = models(names, dtype, sharing=sharing), models(names, dtype, apart=True)
    exact = models(names, apart=True)
    for model in exact:
        model.model.load_state_dict({key: value.float() for key, value in together[0].model.state_dict().items()})
    expected, usual = sampled(exact), sampled(apart)
    dynamic_vram.free_all()
    if share is not None:
        dynamic_vram.budget = int(share * together[0].model_size())
    before = clones.contents(together)
    ours = sampled(together)
    assert (ours - expected).abs().max() <= 1.05 * (usual - expected).abs().max()
    assert (usual - expected).abs().max() > 0
    clones.assert_same_weights(clones.contents(together), before)


@pytest.mark.one_of(4)
@pytest.mark.parametrize("names", GROUPS[2::2], ids=" + ".join)
def test_a_run_leaves_everything_as_it_was(models, sampled, names):
    together = models(names)
    at_first = clones.contents(together)
    alone = sampled(together[:1])  # loads it, as ComfyUI's own guider would
    loaded = clones.contents(together)
    first = sampled(together)
    clones.assert_same(clones.contents(together), loaded)
    assert torch.equal(sampled(together), first)
    assert torch.equal(sampled(together[:1]), alone)
    sampled(together[::-1])
    comfy.model_management.unload_all_models()
    clones.assert_same_weights(clones.contents(together), at_first)


def test_schedules_stay_apart_after_core_has_loaded_one(models, sampled):
    """ComfyUI alone would write the noise levels of the first into the schedule of the second (ComfyUI#16490)."""
    names = ("plain", "EDM schedule")
    plain, other = models(names)
    expected = sampled(models(names, apart=True)[::-1])
    before = clones.contents([plain, other])
    sampled([plain])
    assert torch.equal(sampled([other, plain]), expected)
    clones.assert_same_weights(clones.contents([plain, other]), before)


@pytest.mark.one_of(6)
@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("names", [GROUPS[0], GROUPS[3], GROUPS[6]], ids=" + ".join)
def test_a_cancelled_run_leaves_everything_as_it_was(models, sampled, names, step):
    together = models(names)
    sampled(together[:1])
    loaded = clones.contents(together)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sampled(together, function=cancelled_at(step))
    clones.assert_same(clones.contents(together), loaded)
    assert torch.equal(sampled(together), sampled(models(names, apart=True)))


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("failing", "classic"),
    [(failing, classic) for classic in (False, True) for failing in ("pass", "patching", "objects")],
)
def test_a_failure_leaves_everything_as_it_was(models, sampled, monkeypatch, failing, classic):
    """And so with ComfyUI's classic MODELs."""
    names, calls = ("plain", "small layers"), []
    together = models(names, disable_dynamic=classic)
    sampled(together[:1])
    loaded = clones.contents(together)

    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    def fail_at_the_second(*args, **kwargs):
        calls.append(args)
        return fail() if len(calls) == 2 else patch_weight(*args, **kwargs)

    with monkeypatch.context() as patch:
        if failing == "pass":
            patch.setitem(together[1].model_options, "model_function_wrapper", fail)
        elif failing == "patching":
            patch_weight = together[1].patch_weight_to_device
            patch.setattr(together[1], "patch_weight_to_device", fail_at_the_second)
        else:
            patch.setattr(together[1], "patch_model", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            sampled(together)
    clones.assert_same(clones.contents(together), loaded)
    assert torch.equal(sampled(together), sampled(models(names, apart=True, disable_dynamic=classic)))


@pytest.mark.one_of(6)
@pytest.mark.parametrize("moved", ["pages", "all", "loaded anew"])
@pytest.mark.parametrize("names", [GROUPS[0], ("plain", "small layers", "EDM schedule")], ids=" + ".join)
def test_weights_that_comfyui_moves_in_the_middle_of_a_run(models, sampled, dynamic_vram, names, moved):
    together, expected = models(names), sampled(models(names, apart=True))
    size = together[0].model_size()
    move = {
        "pages": lambda: together[0].partially_unload(None, size // 4),
        "all": lambda: together[0].partially_unload(None, 10 * size),
        "loaded anew": lambda: together[0].partially_load(together[0].load_device),
    }[moved]

    def moving(model, x, sigmas, extra_args, **kwargs):
        model(x, sigmas[0].expand(len(x)), **extra_args)  # the last is active now
        move()
        return sample_euler(model, x, sigmas, extra_args=extra_args, **kwargs)

    assert torch.equal(sampled(together, function=moving), expected)


@pytest.mark.long
def test_50_runs_leave_nothing_growing(models, guider_of, sampled, dynamic_vram):
    guider = guider_of(models(("plain", "LoRA", "small layers")))

    first = sampled(None, 1, guider=guider)

    def used_after(runs):
        for _ in range(runs):
            assert torch.equal(sampled(None, 1, guider=guider), first)
        return Living.now(), dynamic_vram.used

    used_after(5)  # the first count makes some objects itself
    living, pages = used_after(5)
    later, pages_later = used_after(40)
    assert later.nbytes == living.nbytes
    more = later.objects.total() - living.objects.total()
    assert more < 40, later.objects - living.objects  # not one more for each run
    assert pages_later == pages

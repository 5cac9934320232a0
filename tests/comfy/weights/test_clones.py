"""MODELs cloned from one checkpoint: each gives its own answer."""

import copy
import re

import comfy_extras.nodes_model_advanced as advanced
import pytest
import torch
from comfy.k_diffusion.sampling import sample_euler
from comfy.model_patcher import ModelPatcher

from ..support.attachments import clone, set_apart, unclamped, weighted, with_lora
from ..support.closeness import rounded


@pytest.mark.one_of(8)
def test_each_gives_its_own_answer(pair, load, chain, guide):
    together, apart = pair
    expected = guide(chain(*weighted(*apart)))
    torch.testing.assert_close(guide(chain(*weighted(*together))), expected, atol=rounded(1e-5), rtol=0)
    assert not torch.allclose(expected, guide(chain(*weighted(load("hair"), load("hair")))), atol=1e-3)


@pytest.mark.one_of(8)
def test_partly_loaded_clones_give_the_same(pair, chain, guide, request):
    together, apart = pair
    expected = guide(chain(*weighted(*apart)))
    request.getfixturevalue("limited")
    together[0].model.detach()
    seen = []

    def look(model, x, sigmas, **kwargs):
        seen.append(together[0].model.model.model_lowvram)
        return sample_euler(model, x, sigmas, **kwargs)

    torch.testing.assert_close(guide(chain(*weighted(*together)), look), expected, atol=rounded(1e-5), rtol=0)
    assert seen == [True]


def in_a_way_of_its_own(expert):
    class OwnWay(ModelPatcher):
        def load(self, *args, **kwargs):
            return super().load(*args, **kwargs)

    other = copy.copy(expert)
    other.model = OwnWay(expert.model.model, expert.model.load_device, expert.model.offload_device)
    other.model.model_options = expert.model.clone().model_options
    return other


def with_a_layer_replaced(expert):
    other = with_lora(expert)
    layer = copy.deepcopy(expert.model.get_model_object("diffusion_model.network.out.2"))
    layer.weight.data.mul_(1.5)
    other.model.add_object_patch("diffusion_model.network.out.2", layer)
    return other


SLOW = {
    "own way": (
        lambda e: (in_a_way_of_its_own(e), set_apart(with_lora(in_a_way_of_its_own(e)))),
        "expert 1 .*own.* and expert 2",
    ),
    "a layer": (
        lambda e: (e, with_a_layer_replaced(e)),
        r"expert 2 \(small hair\) has a node's layers in place of diff",
    ),
}


@pytest.mark.one_of(2)
@pytest.mark.parametrize("kind", SLOW)
def test_models_that_only_comfyui_can_load(load, chain, guide, caplog, kind):
    """They are loaded in each other's place, with one warning a run that says whose and why."""
    make, reason = SLOW[kind]
    plain = load("hair")
    experts = chain(*weighted(*make(plain)))
    expected = guide(chain(*weighted(make(load("hair"))[0], make(load("hair"))[1])))
    for _ in range(2):
        caplog.clear()
        assert torch.equal(guide(experts), expected)
        (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("mcdm") and r.levelname == "WARNING"]
        assert re.match(rf"expert 1 .* and expert 2 .* slow, because {reason}.*; give", warning)
    assert torch.equal(guide(chain(plain)), guide(chain(load("hair"))))


def test_reloads_keep_their_memory(load, chain, guide, limited):
    """However often networks are loaded in each other's place, as much of them is in memory as fits at first."""
    plain, shares = load("hair"), []
    plain.model.detach()

    def look(model, x, sigmas, **kwargs):
        def note(*_):
            shares.append(plain.model.model.model_loaded_weight_memory / plain.model.model_size())

        with plain.model.model.diffusion_model.register_forward_pre_hook(note):
            return sample_euler(model, x, sigmas, **kwargs)

    guide(chain(*weighted(plain, with_a_layer_replaced(plain))), look, sigmas=torch.linspace(20.0, 0.0, 7))
    assert len(shares) == 12
    assert shares[0] > 0.4
    assert min(shares) >= 0.95 * shares[0]
    assert max(shares) <= 0.6


@pytest.mark.parametrize("mask", [None, torch.eye(32)[None]], ids=["whole", "inpainted"])
def test_clones_with_schedules_of_their_own(load, chain, guide, mask):
    """What is replaced in a MODEL beside its weights comes and goes with it; inpainting asks for the first's."""

    def as_flow(expert):
        other = clone(expert)
        (other.model,) = advanced.ModelSamplingSD3().patch(other.model, 1.5)
        return unclamped(other)

    plain = load("linear")
    settings = {"denoise_mask": mask, "picture": 0.5}
    together = guide(chain(*weighted(unclamped(plain), as_flow(plain))), **settings)
    apart = guide(chain(*weighted(unclamped(load("linear")), as_flow(load("linear")))), **settings)
    assert apart.isfinite().all()
    assert torch.equal(together, apart)
    assert not plain.model.object_patches_backup

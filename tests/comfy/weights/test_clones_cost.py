"""What it takes to run MODELs cloned from one checkpoint that differ in more than adapters."""

from collections import Counter

import pytest
from comfy.model_patcher import ModelPatcher

from ..support.attachments import set_apart, unclamped, weighted, with_lora


def test_weights_are_patched_once_a_run(load, chain, guide, monkeypatch):
    patched, patch = Counter(), ModelPatcher.patch_weight_to_device

    def counted(self, key, *args, **kwargs):
        patched[key] += key in self.patches
        return patch(self, key, *args, **kwargs)

    plain = load("hair")
    lora = set_apart(with_lora(plain))
    guide(chain(plain))
    monkeypatch.setattr(ModelPatcher, "patch_weight_to_device", counted)
    guide(chain(*weighted(plain, lora)))
    assert patched.keys() == lora.model.patches.keys()
    assert set(patched.values()) == {1}


def test_clones_take_no_more_memory_than_the_weights_that_differ(load, chain, guide):
    plain = load("hair")
    lora = set_apart(with_lora(plain))
    tensors = {}

    def look(model, x, sigmas, extra_args, **kwargs):
        network = plain.model.model.diffusion_model
        handle = network.register_forward_pre_hook(
            lambda *_: tensors.update({value.data_ptr(): value.nbytes for value in network.parameters()})
        )
        with handle:
            return model(x, sigmas[0].expand(len(x)), **extra_args)

    guide(chain(*weighted(plain, lora)), look)
    weights = dict(plain.model.model.named_parameters())
    apart = sum(weights[key].nbytes for key in lora.model.patches)
    assert sum(tensors.values()) == sum(value.nbytes for value in weights.values()) + apart


@pytest.mark.parametrize(("hooked", "exchanges"), [(False, 4), (True, 8)])
def test_weights_are_exchanged_back_only_for_guidance_hooks(load, chain, guide, monkeypatch, hooked, exchanges):
    """Hooks may call the first expert's network; without any, a step begins with the weights that are in place."""
    given, patch = [], ModelPatcher.patch_model
    monkeypatch.setattr(ModelPatcher, "patch_model", lambda self, *a, **kw: given.append(self) or patch(self, *a, **kw))

    def four_steps(model, x, sigmas, extra_args, **kwargs):
        given.clear()
        for sigma in sigmas[:4]:
            x = model(x, sigma.expand(len(x)), **extra_args)
        assert len(given) == exchanges
        return x

    plain = unclamped(load("hair"))
    if hooked:
        plain.model.set_model_sampler_post_cfg_function(lambda args: args["denoised"])
    guide(chain(*weighted(plain, set_apart(with_lora(plain)))), four_steps)

"""What it takes to run MODELs cloned from one checkpoint."""

from collections import Counter

from .attachments import weighted, with_lora


def test_weights_are_patched_once_a_run(load, chain, guide, monkeypatch):
    from comfy.model_patcher import ModelPatcher

    patched, patch = Counter(), ModelPatcher.patch_weight_to_device

    def counted(self, key, *args, **kwargs):
        patched[key] += key in self.patches
        return patch(self, key, *args, **kwargs)

    plain = load("hair")
    lora = with_lora(plain)
    guide(chain(plain))
    monkeypatch.setattr(ModelPatcher, "patch_weight_to_device", counted)
    guide(chain(*weighted(plain, lora)))
    assert patched.keys() == lora.model.patches.keys()
    assert set(patched.values()) == {1}


def test_clones_take_no_more_memory_than_the_weights_that_differ(load, chain, guide):
    plain = load("hair")
    lora = with_lora(plain)
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

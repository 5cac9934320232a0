"""A run over MODELs cloned from one checkpoint leaves the network, and each of them, as they were.

One that fails is in `test_dynamic_clones.py`.
"""

import comfy.model_management
import pytest
import torch
from comfy.k_diffusion.sampling import sample_euler

from ..support.attachments import set_apart, weighted, with_lora
from ..support.closeness import rounded
from ..support.core_samplers import cancelled_at
from ..support.leaks import state_of
from ..support.places import HERE


def weights_of(expert):
    return {name: value.clone() for name, value in expert.model.model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def unchanged(chain, guide):
    """Assert that a run leaves no trace in a network, and that each MODEL then does what it did."""

    def check(experts, run):
        alone = [guide(chain(expert)) for expert in experts]
        guide(chain(*weighted(*experts)))  # loads the MODEL that bears what is common to all
        models = [expert.model for expert in experts]
        weights, state = weights_of(experts[0]), state_of(*models)
        run(chain(*weighted(*experts)))
        assert same(weights_of(experts[0]), weights)
        assert state_of(*models) == state
        assert all(torch.equal(guide(chain(expert)), result) for expert, result in zip(experts, alone, strict=True))

    return check


@pytest.mark.one_of(8)
def test_the_network_is_left_as_it_was(pair, guide, unchanged):
    unchanged(pair[0], guide)


@pytest.mark.one_of(20)
@pytest.mark.parametrize("step", range(4))
def test_a_cancelled_run_leaves_the_network_as_it_was(pair, guide, unchanged, step):
    def run(experts):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            guide(experts, cancelled_at(step))

    unchanged(pair[0], run)


@pytest.mark.one_of(4)
@pytest.mark.parametrize("kind", ["by rows", "set apart"])
@pytest.mark.parametrize("moved", ["plain", "lora"])
def test_weights_that_comfyui_moves_in_the_middle_of_a_run(load, chain, guide, moved, kind):
    """ComfyUI may free memory at any time, as another node's model is loaded, say."""
    plain = load("hair")
    lora = with_lora(plain)
    lora = lora if kind == "by rows" else set_apart(lora)
    expected = guide(chain(*weighted(load("hair"), with_lora(load("hair")))))

    def move(model, x, sigmas, extra_args, **kwargs):
        model(x, sigmas[0].expand(len(x)), **extra_args)  # both have been active
        guider = model.inner_model
        guider.models.shared.activate(plain.model if moved == "plain" else lora.model)
        plain.model.partially_unload(torch.device("cpu"), plain.model.model_size() // 2)
        return sample_euler(model, x, sigmas, extra_args=extra_args, **kwargs)

    torch.testing.assert_close(guide(chain(*weighted(plain, lora)), move), expected, atol=rounded(1e-5), rtol=0)
    assert torch.equal(guide(chain(plain)), guide(chain(load("hair"))))


def test_patches_of_a_clone_come_to_the_device_for_the_run_only(load, chain, guide):
    """ComfyUI moves those of a MODEL that it loads, and back when it unloads it; a clone is never loaded itself."""

    class Patch:
        def __init__(self):
            self.places, self.used_at = [], []

        def to(self, place):
            self.places.append(place)
            return self

        def __call__(self, apply_model, args):
            self.used_at.append(self.places[-2:])
            return apply_model(args["input"], args["timestep"], **args["c"])

    plain, patch = load("hair"), Patch()
    other = with_lora(plain)
    other.model.set_model_unet_function_wrapper(patch)
    on, off = HERE, torch.device("cpu", 0)
    other.model.offload_device = off
    guide(chain(*weighted(plain, other)))
    assert patch.used_at == [[on, torch.float32]] * 4
    assert patch.places == [on, torch.float32, off]

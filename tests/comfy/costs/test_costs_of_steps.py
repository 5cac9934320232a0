"""What a step asks of an accelerator beside core's: how often the host waits for it, and what is copied."""

import pytest
import torch

STEPS = 4


@pytest.fixture
def of_steps(accelerator, pack):
    """Count what those steps ask by which one run is longer than another; what a run does once drops out."""
    import comfy.samplers

    @torch.inference_mode()  # as ComfyUI runs nodes
    def count(guider):
        counts = []
        for steps in (1, 8, 8 + STEPS):  # the first loads what the others find loaded
            noise = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(3))
            levels = guider.model_patcher.get_model_object("model_sampling")
            sigmas = comfy.samplers.calculate_sigmas(levels, "normal", steps)
            euler = comfy.samplers.sampler_object("euler")
            with accelerator.counted() as asked:
                guider.sample(noise, torch.zeros_like(noise), euler, sigmas, disable_pbar=True, seed=3)
            counts.append(asked)
        return counts[2] - counts[1]

    return count


@pytest.mark.parametrize(
    "kinds",
    [
        [("eps", "plain")],
        [("eps", "LoRA")],
        [("eps", "mask"), ("v", "plain")],
        [("eps", "plain"), ("v", "plain"), ("flow", "plain")],
        [("eps", "plain"), ("eps", "LoRA clone")],
    ],
    ids=str,
)
def test_a_step_waits_and_copies_as_cores_does_with_each_network(of_steps, cast, node, kinds):
    from ..support.oracle.core_guiders import core_guider

    experts, chain = [cast.expert(*kind, place) for place, kind in enumerate(kinds)], ()
    for expert in experts:
        (chain,) = node("MCDM_Expert", experts=chain, **vars(expert))
    ours = of_steps(node("MCDM_Guider", experts=chain)[0])
    of_networks = {id(expert.model.model): expert for expert in experts}.values()
    cores = [of_steps(core_guider(expert)) for expert in of_networks]
    assert ours.synchronisations.total() <= sum(each.synchronisations.total() for each in cores)
    assert ours.to_device.number <= sum(each.to_device.number for each in cores)
    assert ours.to_host.number <= sum(each.to_host.number for each in cores)

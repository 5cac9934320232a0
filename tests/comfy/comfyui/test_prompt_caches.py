"""Networks that keep what they have made of a prompt, told apart by the prompt alone, in products over their clones."""

from dataclasses import replace

import comfy_extras.nodes_wan as nodes_wan
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel

from ..support import attachments, clones
from ..support.clones import lora_on
from ..support.closeness import assert_close
from ..support.families import FAMILIES, small
from ..support.oracle.networks import network
from ..support.oracle.variants import Expert, conditioning, expert_of


@pytest.fixture
def keeping(pack):
    """MODELs of networks that keep the keys of a prompt for a run, as Qwen-Image 2.1's, and count what they do."""

    class KeepingUNet(UNetModel):
        def forward(self, x, timesteps=None, context=None, *args, transformer_options=None, **kwargs):
            layer = self.middle_block[1].transformer_blocks[0].attn2.to_k
            off = (transformer_options or {}).get("qwen_image21_cache", {}).get("device") == "off"

            def keep(module, inputs, keys):
                if off:
                    return keys
                kept = next((keys for text, keys in self.kept if torch.equal(text, context)), None)
                if kept is None:
                    self.made += 1
                    self.kept.append((context, keys))
                return keys if kept is None else kept

            with layer.register_forward_hook(keep):
                return super().forward(x, timesteps, context, *args, transformer_options=transformer_options, **kwargs)

    class KeepingModel(BaseModel):
        @property
        def current_patcher(self):
            return self.of_run

        @current_patcher.setter
        def current_patcher(self, patcher):
            self.of_run = patcher
            self.diffusion_model.kept = []

    def make(seed=1):
        patcher = network("eps", seed)
        patcher.model.__class__ = KeepingModel
        del patcher.model.__dict__["current_patcher"]
        patcher.model.diffusion_model.__class__ = KeepingUNet
        patcher.model.diffusion_model.made = 0
        patcher.model.current_patcher = None
        return patcher

    return make


@pytest.fixture
def sampled(product_of):
    """Sample a product of experts."""
    return lambda experts, shape=(4, 8, 12): product_of(experts, shape=(1, *shape))


def one_prompt(models):
    """Experts on these MODELs with the same condition, and the same null of as many tokens."""
    given = {"condition": conditioning(0), "null": conditioning(-1, tokens=6)}
    return [replace(expert_of(model, place), **given) for place, model in enumerate(models)]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("apart", [False, True], ids=["by rows", "exchanged"])
def test_each_of_several_models_gives_its_own_answer(keeping, sampled, apart):
    def pair(first, second):
        lora = clones.lora_on(second, 8)
        return one_prompt([first, attachments.apart(lora) if apart else lora])

    shared = keeping()
    expected = sampled(pair(network("eps", 1), network("eps", 1)))
    assert_close(sampled(pair(shared, shared)), expected)
    assert shared.model.diffusion_model.made == 0
    assert shared.model.current_patcher is None
    assert (expected - sampled(one_prompt([network("eps", 1)] * 2))).abs().max() > 1e-2 * expected.std()


@pytest.mark.parametrize("networks", [1, 2])
def test_a_network_of_one_model_keeps_its_prompts(keeping, sampled, networks):
    """Every prompt is made once a run, and not once a step."""

    def pair(make):
        models = [make(seed) for seed in (1, 2)] if networks == 2 else [make(1)] * 2
        first, second = one_prompt(models)
        return [first, replace(second, condition=conditioning(1))]

    experts = pair(keeping)
    assert_close(sampled(experts), sampled(pair(lambda seed: network("eps", seed))))
    assert [expert.model.model.diffusion_model.made for expert in experts] == [1, 1]  # a batch of all its prompts


@pytest.mark.one_of(2)
@pytest.mark.parametrize("apart", [False, True], ids=["by rows", "exchanged"])
def test_hidream_o1_which_keeps_prompts_past_a_run(sampled, apart):
    """Two LoRAs of one network, in one prompt; and the network alone, after the product as before it."""
    row = FAMILIES["HiDreamO1"]

    def network():
        return small.network("HiDreamO1", row, 1)

    def pair(first, second):
        models = [lora_on(first, 5, 0.9), lora_on(second, 6, 0.9)]
        models[1] = attachments.apart(models[1]) if apart else models[1]
        return [Expert(model, small.condition(row, 11), small.null(row), weight=0.9) for model in models]

    plain = Expert(shared := network(), small.condition(row, 11), small.null(row), weight=1.5)
    expected = sampled(pair(network(), network()), row.latent)
    assert_close(sampled(pair(shared, shared), row.latent), expected)
    assert torch.equal(sampled([plain], row.latent), sampled([replace(plain, model=network())], row.latent))


def test_wan_animates_cache_of_the_pose(sampled):
    """WanAnimate2Cache before a LoRA: both MODELs have its one object, which knows poses alone."""
    row = FAMILIES["WAN_Animate2"]
    row = replace(row, unet_config={**row.unet_config, "num_layers": 2})
    generator = torch.Generator().manual_seed(9)
    pose = {
        "pose_video_latent": torch.randn(1, 16, 1, 4, 6, generator=generator),
        "cross_attn_pose": torch.randn(1, *row.tokens, generator=generator),
    }

    def pair(base):
        models = [base, lora_on(base, 5, 0.9)]
        texts = [[[text, {**values, **pose}] for text, values in small.condition(row, seed)] for seed in (11, 12)]
        return [Expert(model, *texts, weight=1.5) for model in models]

    network = small.network("WAN_Animate2", row, 1)
    (kept,) = nodes_wan.WanAnimate2Cache.execute(network, "cpu").args
    assert_close(sampled(pair(kept), row.latent), sampled(pair(network), row.latent))

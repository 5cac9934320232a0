"""LoRAs of this pack's experts: ComfyUI's own Load LoRA adds them, and what comes of it is the core's."""

import sys
from types import SimpleNamespace

import comfy.samplers
import pytest
import torch

import nodes

from ..support.closeness import rounded

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
TEXT = "a smiling man with red hair"


@pytest.fixture
def own(core, base, latent_experts):
    """The text expert by the core alone, and what reads and writes its LoRAs."""
    modules = {name: sys.modules[f"mcdm_pack.mcdm_core.{name}"] for name in ("checkpoints.lora", "networks.low_rank")}
    lora, low_rank = modules.values()
    expert = core.load_expert(base / "models" / "mcdm" / latent_experts["text"])
    return SimpleNamespace(expert=expert, lora=lora, low_rank=low_rank)


@pytest.fixture
def file(core, base, own):
    """A LoRA of random factors among ComfyUI's."""
    torch.manual_seed(3)
    network = core.UNet(own.expert.network.config)
    own.low_rank.add_low_rank(network, 2)
    for change in own.low_rank.low_rank_of(network).values():
        torch.nn.init.normal_(change.up, std=0.1)
    file = base / "models" / "loras" / "of an expert.safetensors"
    file.parent.mkdir(exist_ok=True)
    own.lora.save_lora(file, network, {"steps": 1})
    return file


@torch.inference_mode()  # as ComfyUI runs nodes
def test_load_lora_adds_what_the_core_adds(core, own, load_latent, file, node, chain, caplog):
    text = load_latent("text")
    (changed,) = nodes.LoraLoaderModelOnly().load_lora_model_only(text.model, file.name, 0.7)
    assert "lora key not loaded" not in caplog.text
    assert len(changed.patches) == sum(weight.ndim > 1 for weight in own.expert.network.parameters())

    condition, null = (own.expert.encoder.encode_text([told] * 2) for told in (TEXT, ""))
    (guider,) = node("MCDM_Guider", experts=chain((text, {"model": changed, "weight": 2.0})))
    for sigma in (4.0, 1.0):
        euler, levels = comfy.samplers.sampler_object("euler"), torch.tensor([sigma, 0.0])
        found = guider.sample(X, torch.zeros_like(X), euler, levels, seed=2).cpu()  # one step to 0 gives the prediction
        expected, plain = (
            core.ProductDenoiser([core.Term(expert, condition, null, weight=2.0)])(sigma * X, sigma)
            for expert in (own.lora.with_lora(own.expert, file, 0.7), own.expert)
        )
        torch.testing.assert_close(found, expected, atol=rounded(2e-3), rtol=0)
        assert (found - plain).abs().max() > 0.1

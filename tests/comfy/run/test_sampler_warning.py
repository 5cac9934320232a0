"""An expert of captions is followed better where noise is added at every step; nodes that name a sampler say so."""

import logging

import pytest
import torch


@pytest.mark.parametrize(("expert", "sampler", "warned"), [
    ("text", "euler", True),
    ("text", "dpmpp_2m", True),
    ("text", "euler_ancestral", False),
    ("text", "dpmpp_2m_sde", False),
    ("hair", "euler", False),
])  # fmt: skip
def test_a_sampler_without_noise_is_warned_of(load, chain, sample, caplog, expert, sampler, warned):
    with caplog.at_level(logging.WARNING, "mcdm_pack"):
        sample(chain(load(expert)), sampler_name=sampler, steps=2)
    assert (f"and the sampler {sampler} adds none; choose euler_ancestral." in caplog.text) is warned


def test_a_sweep_says_so_once(load, chain, node, caplog):
    text = load("text")
    widgets = {"expert_index": 1, "values": "0.5, 1", "vary": "weight", "guidance": "1", "seed": 5, "seeds": 1}
    widgets |= {"steps": 1, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    latent = {"samples": torch.zeros(1, 3, 32, 32)}
    with caplog.at_level(logging.WARNING, "mcdm_pack"):
        node("MCDM_ReliabilitySweep", experts=chain(text), latent_image=latent, vae=text.vae, **widgets)
    assert caplog.text.count("adds none") == 1

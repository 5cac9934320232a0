"""The colours of a VAE's latents."""

import logging

import torch

from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder, save_autoencoder
from mcdm_core.networks.autoencoder import Autoencoder, AutoencoderConfig
from studies.evaluation import main
from studies.evaluation.preview import fit_colors


def test_colours_that_are_a_linear_map_are_found():
    latents, factors, bias = torch.randn(3, 4, 5, 6), torch.randn(4, 3), torch.randn(3)
    colors = torch.einsum("nchw,cr->nrhw", latents, factors) + bias.view(-1, 1, 1)
    pictures = colors.repeat_interleave(8, 2).repeat_interleave(8, 3)
    found = fit_colors(latents, pictures)
    torch.testing.assert_close(found[0].float(), factors, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1].float(), bias, atol=1e-5, rtol=0)


def test_the_command_tells_the_colours_and_whose_they_are(tmp_path, caplog):
    path = tmp_path / "vae.safetensors"
    save_autoencoder(path, Autoencoder(AutoencoderConfig((4, 4, 4, 4))).eval())
    with caplog.at_level(logging.INFO):
        assert main(["preview", str(path), "--cache", str(tmp_path / "data"), "--count", "1"]) == 0
    assert encoder_key(load_autoencoder(path)) in caplog.text
    assert "root mean square error" in caplog.text

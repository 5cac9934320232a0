"""What a VAE loses of drawings, and the colours of its latents."""

import logging
import math

import numpy as np
import pytest
import torch

from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder
from mcdm_core.networks.autoencoder import Autoencoder, AutoencoderConfig
from mcdm_core.training.config import DataConfig
from studies.evaluation import main
from studies.evaluation.preview import fit_colors
from studies.evaluation.reconstructions import Figure, measure_faces, measure_landscapes, measure_reconstructions
from studies.training.mixture_kind import drawings_of

from ....support.small_experts import write_vae
from ....support.tiny_runs import csv_rows


class Perfect(Autoencoder):
    """A VAE that loses nothing, its latents as large as the pictures."""

    def encode(self, pictures):
        return pictures

    def decode(self, latents):
        return latents


def test_a_perfect_vae_has_the_figures_of_the_drawings(tmp_path):
    figures, latents = measure_reconstructions(Perfect(AutoencoderConfig((4, 4, 4, 4))), tmp_path, 2, 64)
    assert latents.shape == (6, 3, 64, 64)
    assert [f.decoded for f in figures if f.measure == "PSNR"] == [math.inf] * 3
    assert all(f.drawings == f.decoded for f in figures)
    assert {f.measure for f in figures} >= {"hair IoU", "skin IoU", "deviation in flat areas", "sky", "orb", "hills"}


def test_a_blurred_face_loses_maps_and_flatness(tmp_path):
    drawn = drawings_of(DataConfig("faces", ("hair", "skin"), seed=3, count=2), 128).draw(tmp_path)
    pictures = torch.from_numpy(drawn["images"]).permute(0, 3, 1, 2).float()
    blurred = torch.nn.functional.avg_pool2d(pictures, 9, 1, 4).permute(0, 2, 3, 1).round().to(torch.uint8).numpy()
    before, after = measure_faces(drawn["images"], drawn), measure_faces(blurred, drawn)
    assert after["hair IoU"] < before["hair IoU"]
    assert after["deviation in flat areas"] > before["deviation in flat areas"]


def test_landscapes_are_read_at_any_size(tmp_path):
    drawn = drawings_of(DataConfig("landscapes", seed=3, count=6), 256).draw(tmp_path)
    read = measure_landscapes(drawn["images"], drawn)
    assert read["sky"] == 1
    assert np.mean([*read.values()]) > 0.9


def test_the_command_writes_a_table(tmp_path):
    path = write_vae(tmp_path / "vae.safetensors")
    out = tmp_path / "out" / "vae.csv"
    assert main(["vae", str(path), "--out", str(out), "--cache", str(tmp_path / "data"), "--count", "1"]) == 0
    rows = csv_rows(out)
    assert [row["measure"] for row in rows if row["kind"] == "latents"][:2] == [
        "mean of channel 0",
        "deviation of channel 0",
    ]
    assert Figure("faces", "PSNR", 2.0, 1.0).ratio == pytest.approx(0.5)


def test_a_folder_is_no_name_of_a_table(tmp_path):
    with pytest.raises(ValueError, match="is a folder; add a file's name"):
        main(["vae", str(tmp_path / "no vae"), "--out", str(tmp_path)])


def test_colours_that_are_a_linear_map_are_found():
    latents, factors, bias = torch.randn(3, 4, 5, 6), torch.randn(4, 3), torch.randn(3)
    colors = torch.einsum("nchw,cr->nrhw", latents, factors) + bias.view(-1, 1, 1)
    pictures = colors.repeat_interleave(8, 2).repeat_interleave(8, 3)
    found = fit_colors(latents, pictures)
    torch.testing.assert_close(found[0].float(), factors, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1].float(), bias, atol=1e-5, rtol=0)


def test_the_command_tells_the_colours_and_whose_they_are(tmp_path, caplog):
    path = write_vae(tmp_path / "vae.safetensors")
    with caplog.at_level(logging.INFO):
        assert main(["preview", str(path), "--cache", str(tmp_path / "data"), "--count", "1"]) == 0
    assert encoder_key(load_autoencoder(path)) in caplog.text
    assert "root mean square error" in caplog.text

"""Networks of VAEs and their files."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcdm_core.checkpoints import CheckpointError
from mcdm_core.checkpoints.autoencoders import folded, load_autoencoder, resized, save_autoencoder
from mcdm_core.networks.autoencoder import Autoencoder, AutoencoderConfig, Clamp, LatentNorm

NARROW = AutoencoderConfig((4, 6, 5, 8), latent_channels=4)
WIDE = (64, 64, 64, 64)


@pytest.fixture
def trained():
    """A narrow network whose norm has measured something."""
    network = Autoencoder(NARROW)
    with torch.no_grad():
        network.encoder[-1].weight *= 20
        network.encoder[-1].bias += torch.tensor([0.3, -1.0, 0.0, 2.0])
        for _ in range(3):
            network.norm.measure(network.features(torch.rand(4, 3, 32, 32) * 2 - 1))
    return network.eval().requires_grad_(False)


@pytest.fixture
def pictures():
    return torch.rand(2, 3, 32, 48) * 2 - 1


def test_a_padded_network_computes_what_the_narrow_one_does(trained, pictures):
    narrow = folded(trained).double()
    wide = resized(narrow, WIDE)
    assert wide.config.widths == WIDE
    assert wide.encoder[3].conv[0].weight.shape == (64, 64, 3, 3)
    latents = narrow.encode(pictures.double())
    torch.testing.assert_close(wide.encode(pictures.double()), latents, rtol=0, atol=1e-12)
    torch.testing.assert_close(wide.decode(latents), narrow.decode(latents), rtol=0, atol=1e-12)


def test_a_written_network_is_read_narrow_and_in_half_precision(trained, pictures, tmp_path):
    path = tmp_path / "vae.safetensors"
    save_autoencoder(path, trained, {"licence": "CC0"})
    read = load_autoencoder(path)
    assert read.config == NARROW
    expected = {name: value.half().float() for name, value in folded(trained).state_dict().items()}
    assert all(torch.equal(expected[name], value) for name, value in read.state_dict().items())
    torch.testing.assert_close(read.encode(pictures), trained.encode(pictures), rtol=0, atol=0.01)


def test_a_file_has_the_keys_and_shapes_of_taesd(trained, tmp_path):
    path = tmp_path / "vae.safetensors"
    save_autoencoder(path, trained)
    tensors = load_file(path)
    assert path.stat().st_size < 6_000_000
    convolutions = {key.rsplit(".", 1)[0]: tuple(v.shape) for key, v in tensors.items() if key.endswith("weight")}
    blocks = {"encoder": (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), "decoder": (3, 4, 5, 8, 9, 10, 13, 14, 15, 18)}
    expected = {
        f"taesd_{half}.{index}.conv.{layer}": (64, 64, 3, 3)
        for half, indices in blocks.items()
        for index in indices
        for layer in (0, 2, 4)
    }
    strided = {f"taesd_encoder.{i}" for i in (2, 6, 10)} | {f"taesd_decoder.{i}" for i in (7, 12, 17)}
    expected |= dict.fromkeys(strided, (64, 64, 3, 3))
    expected |= {"taesd_encoder.0": (64, 3, 3, 3), "taesd_encoder.14": (4, 64, 3, 3)}
    expected |= {"taesd_decoder.1": (64, 4, 3, 3), "taesd_decoder.19": (3, 64, 3, 3)}
    assert convolutions == expected
    biased = {key.rsplit(".", 1)[0] for key in tensors if key.endswith("bias")}
    assert biased == set(expected) - strided
    assert tensors["vae_scale"].item() == 1
    assert tensors["vae_shift"].item() == 0


def test_latents_are_normalized_by_what_was_measured():
    norm = LatentNorm(3)
    scale, shift = torch.tensor([0.2, 1.0, 5.0]).view(1, 3, 1, 1), torch.tensor([1.0, 0.0, -3.0]).view(1, 3, 1, 1)
    batches = [torch.randn(4, 3, 8, 8) * scale + shift + torch.randn(1, 3, 1, 1) for _ in range(7)]
    assert torch.equal(norm(batches[0]), batches[0])
    for batch in batches:
        norm.measure(batch)
    spread, mean = torch.std_mean(norm(torch.cat(batches)), dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(spread, torch.ones(3), rtol=1e-4, atol=0)


def test_the_decoder_clamps_smoothly_at_three():
    clamp = Clamp()
    assert torch.tensor(0.01).allclose(clamp(torch.tensor(0.01)), rtol=1e-4)
    assert clamp(torch.tensor([-1e6, 1e6])).tolist() == [-3, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": (16, 32, 48)}, r"4 levels of 1 to 64 channels, and its widths are \[16, 32, 48\]; correct"),
        ({"widths": (16, 32, 48, 65)}, "correct them"),
        ({"latent_channels": 0}, "1 channel or more, not 0; correct"),
    ],
)
def test_impossible_architectures_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(**values)


def test_a_file_of_others_is_read_as_wide_as_it_is(trained, tmp_path):
    path = tmp_path / "vae.safetensors"
    save_autoencoder(path, trained)
    save_file(load_file(path), path)  # without the description
    assert load_autoencoder(path).config.widths == WIDE


@pytest.mark.parametrize(
    ("change", "header", "message"),
    [
        ({"vae_scale": torch.tensor(0.18215)}, None, "scales its latents"),
        ({"taesd_encoder.14.bias": torch.zeros(5)}, None, "no VAE that can be used here"),
        ({"taesd_decoder.1.weight": None}, None, "is no VAE of TAESD's layers"),
        ({"taesd_encoder.0.bias": torch.full((64,), torch.nan).half()}, None, "NaN, infinite .* in encoder.0.bias"),
        ({"taesd_encoder.0.bias": None}, None, "no VAE that can be used here"),
        ({}, [], "cannot be used"),
        *(({}, {"format": 1, "widths": w}, "cannot be used") for w in ([1], [4.0, 6, 5, 8], [True, 6, 5, 8])),
        ({}, {"format": 2}, "of format 2 and this version reads format 1; update"),
    ],
)
def test_other_files_are_refused(trained, tmp_path, change, header, message):
    path = tmp_path / "vae.safetensors"
    save_autoencoder(path, trained)
    tensors = {name: value for name, value in (load_file(path) | change).items() if value is not None}
    save_file(tensors, path, None if header is None else {"mcdm_vae": json.dumps(header)})
    with pytest.raises(CheckpointError, match=message):
        load_autoencoder(path)


def test_a_channel_that_never_varies_is_refused_before_anything_is_written(trained, tmp_path):
    trained.norm.square[1] = trained.norm.mean[1] ** 2
    with pytest.raises(ValueError, match=r"nothing was written: .* infinite .* in taesd_encoder\.14\.weight"):
        save_autoencoder(tmp_path / "vae.safetensors", trained)
    assert not any(tmp_path.iterdir())

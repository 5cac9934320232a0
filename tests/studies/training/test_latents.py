"""Training on latents of drawings."""

import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mcdm_core import load_expert
from mcdm_core.checkpoints.autoencoders import load_autoencoder, save_autoencoder
from mcdm_core.networks.autoencoder import Autoencoder, AutoencoderConfig
from mcdm_core.training.checks import check_config
from mcdm_core.training.config import DataConfig, load_config
from mcdm_core.training.latents import LatentSpace
from mcdm_core.training.run import train_expert
from mcdm_core.training.trainer import Trainer
from studies.training.mixture_kind import MixtureKind, drawings_of

CONFIG = """
name = "start"
image_size = 32
vae = "vae.safetensors"
[network]
in_channels = 4
out_channels = 4
model_channels = 32
channel_mult = [1, 2]
num_res_blocks = 1
attention_downsamplings = [2]
norm_groups = 8
[data]
kind = "mixture"
[data.sets.faces]
seed = 11
count = 5
[data.sets.animals]
seed = 31
count = 4
[optimizer]
steps = 4
batch_size = 3
muon = true
warmup = 2
autocast = false
[report]
every = 2
held_out_every = 2
held_out = 2
samples = 2
sample_steps = 2
"""


@pytest.fixture
def config(tmp_path):
    write_vae(tmp_path / "vae.safetensors")
    path = tmp_path / "start.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def write_vae(path, seed=0):
    torch.manual_seed(seed)
    network = Autoencoder(AutoencoderConfig((4, 4, 4, 4)))
    network.norm.measure(network.features(torch.rand(8, 3, 16, 16) * 2 - 1))
    save_autoencoder(path, network.eval())


def test_a_run_writes_a_network_of_latents_and_looks_at_it_through_the_vae(config, tmp_path):
    expert = load_expert(train_expert(config, tmp_path / "runs"))
    assert expert.channels == 4
    assert expert.metadata["card"]["vae"] == LatentSpace(tmp_path / "vae.safetensors").key
    assert expert.metadata["card"]["data"] == "5 faces, seed 11, leading {}; 4 animals, seed 31"
    grid = Image.open(tmp_path / "runs" / "start" / "samples_000004.png")
    assert grid.size == (8 + 3 * 136, 42 + 2 * 136)


def test_a_resumed_run_equals_an_uninterrupted_one(config, tmp_path, monkeypatch):
    whole = load_file(train_expert(config, tmp_path / "whole"))
    finish = Trainer.finish_step

    def finish_and_interrupt(trainer):
        finish(trainer)
        if trainer.step == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "finish_step", finish_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_expert(config, tmp_path / "runs")
    monkeypatch.undo()
    resumed = load_file(train_expert(config, tmp_path / "runs", "state"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_state_does_not_go_on_with_another_vae(config, tmp_path):
    train_expert(config, tmp_path / "runs")
    write_vae(tmp_path / "vae.safetensors", seed=1)
    with pytest.raises(ValueError, match="of another configuration, which differs in vae"):
        train_expert(config, tmp_path / "runs", "state")


def test_a_set_holds_the_latents_of_its_drawings(config, tmp_path):
    sets = MixtureKind().prepare_pictures(load_config(config).data, 32, 1, tmp_path).training.values()
    space = LatentSpace(tmp_path / "vae.safetensors")
    source = space.source(sets, tmp_path / "data")
    assert len(source) == 9
    images = drawings_of(DataConfig("animals", seed=31, count=4), 32).draw(tmp_path)["images"]
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    expected = load_autoencoder(tmp_path / "vae.safetensors").encode(pictures)
    torch.testing.assert_close(source.latents[5:].float(), expected, rtol=1e-3, atol=1e-3)
    again = LatentSpace(tmp_path / "vae.safetensors").source(sets, tmp_path / "data")
    assert torch.equal(again.latents, source.latents)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("out_channels = 4", "out_channels = 8", "as many channels out as in"),
        ("out_channels = 4", "out_channels = 4\nmap_channels = 1", "no maps"),
        ("out_channels = 4", "out_channels = 4\npatch = 2", "a patch of 1"),
        ("image_size = 32", "image_size = 40", "no multiple of 16"),
        ('kind = "mixture"', 'kind = "faces"', "of kind 'mixture'"),
    ],
)
def test_wrong_configurations_are_refused(config, old, new, message):
    config.write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        check_config(load_config(config))


def test_networks_and_vaes_of_different_channels_are_refused(config, tmp_path):
    config.write_text(CONFIG.replace("channels = 4", "channels = 3"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"latents have 4 channels and .* in_channels = 3; set"):
        train_expert(config, tmp_path / "runs")


def test_a_missing_vae_is_named(config, tmp_path):
    (tmp_path / "vae.safetensors").unlink()
    with pytest.raises(ValueError, match=r"Expected a VAE at .* and there is none; train it first"):
        train_expert(config, tmp_path / "runs")


def test_the_start_of_the_experts_can_be_read():
    config = load_config(Path(__file__).resolve().parents[3] / "studies" / "configs" / "start256.toml")
    check_config(config)
    assert config.vae is not None

"""Training on latents of drawings."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core import load_expert
from mcdm_core.checkpoints.autoencoders import load_autoencoder
from mcdm_core.conditions import build_encoder
from mcdm_core.training.config import DataConfig, load_config
from mcdm_core.training.data.latents import LatentSpace
from mcdm_core.training.expert.checks import check_config
from mcdm_core.training.expert.run import condition_spec
from mcdm_core.training.kinds import kind_named
from studies.cli import train
from studies.data.faces import Frequencies, draw_face, render_face
from studies.training import landscape_tower
from studies.training.faces import FaceKind
from studies.training.kinds import KINDS
from studies.training.mixture_kind import MixtureKind, drawings_of

from ...support.small_experts import write_vae
from ...support.tiny_runs import LATENT_NETWORK

CONFIG = f"""
name = "start"
{LATENT_NETWORK}[data]
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


def test_a_run_writes_a_network_of_latents_and_looks_at_it_through_the_vae(config, tmp_path):
    expert = load_expert(train(config, tmp_path / "runs"))
    assert expert.channels == 4
    assert expert.sample_shape == (4, 4, 4)
    assert not expert.clamp_x0
    assert expert.metadata["vae"] == LatentSpace(tmp_path / "vae.safetensors").key
    assert expert.metadata["card"]["data"] == "5 faces, seed 11, leading {}; 4 animals, seed 31"
    grid = Image.open(tmp_path / "runs" / "start" / "samples_000004.png")
    assert grid.size == (8 + 3 * 136, 42 + 2 * 136)


def test_a_state_does_not_go_on_with_another_vae(config, tmp_path):
    train(config, tmp_path / "runs")
    write_vae(tmp_path / "vae.safetensors", seed=1)
    with pytest.raises(ValueError, match="of another configuration, which differs in vae"):
        train(config, tmp_path / "runs", "state")


def test_a_set_holds_the_latents_of_its_drawings(config, tmp_path):
    sets = MixtureKind().prepare_pictures(load_config(config).data, 32, 1, tmp_path).training.parts.values()
    space = LatentSpace(tmp_path / "vae.safetensors")
    source = space.source(sets, tmp_path / "data")
    assert len(source) == 9
    images = drawings_of(DataConfig("animals", seed=31, count=4), 32).draw(tmp_path)["images"]
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    expected = load_autoencoder(tmp_path / "vae.safetensors").encode(pictures)
    torch.testing.assert_close(source.images[5:].float(), expected, rtol=1e-3, atol=1e-3)
    again = LatentSpace(tmp_path / "vae.safetensors").source(sets, tmp_path / "data")
    assert torch.equal(again.images, source.images)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("out_channels = 4", "out_channels = 8", "as many channels out as in"),
        ("out_channels = 4", "out_channels = 4\nmap_channels = 64", "need 0 map channels and .* has 64"),
        ("out_channels = 4", "out_channels = 4\npatch = 2", "a patch of 1"),
        ("image_size = 32", "image_size = 40", "no multiple of 16"),
        ('kind = "mixture"', 'kind = "faces"', "by one modality and one set"),
    ],
)
def test_wrong_configurations_are_refused(config, old, new, message):
    config.write_text(CONFIG.replace(old, new), encoding="utf-8")
    settings = load_config(config)
    with pytest.raises(ValueError, match=message):
        check_config(settings, kind_named(settings.data.kind, KINDS))


TOLD = (
    CONFIG.split("[data]")[0]
    + """{network}
[data]
kind = "{kind}"
modalities = ["{modality}"]
seed = 11
count = 5
[optimizer]
steps = 1
batch_size = 3
autocast = false
[report]
held_out_every = 1
held_out = 2
samples = 2
sample_steps = 2
"""
)


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    ("kind", "modality", "network"),
    [
        ("faces", "hair", "map_channels = 64"),
        ("faces", "sketch", "map_channels = 64"),
        ("animals", "class", "num_classes = 11"),
        ("landscapes", "text", "pooled_dim = 11"),
    ],
)
def test_networks_of_latents_are_told_as_those_of_pictures_are(config, tmp_path, monkeypatch, kind, modality, network):
    monkeypatch.setattr(landscape_tower, "train_tower", partial(landscape_tower.train_tower, steps=2, batch_size=4))
    config.write_text(TOLD.format(kind=kind, modality=modality, network=network), encoding="utf-8")
    expert = load_expert(train(config, tmp_path / "runs"))
    condition = expert.encoder.null(2)
    with pytest.raises(ValueError, match=r"a VAE .* that is not there; put its file into"):
        expert.decode(torch.zeros(1, *expert.sample_shape))
    assert expert.predict_x0(torch.randn(2, *expert.sample_shape), 1.0, condition).shape == (2, 4, 4, 4)
    assert (tmp_path / "runs" / "start" / "samples_000001.png").exists()


@pytest.mark.parametrize("modality", ["hair", "sketch"])
def test_latents_are_trained_on_with_what_the_encoder_makes_of_the_same_drawing(config, tmp_path, modality):
    config.write_text(TOLD.format(kind="faces", modality=modality, network="map_channels = 64"), encoding="utf-8")
    loaded = load_config(config)
    prepared = FaceKind().prepare_latents(loaded, tmp_path, tmp_path / "data", None).training
    told = prepared.conditions(modality, np.arange(5), np.random.default_rng(0))
    encoder = build_encoder(condition_spec((modality,), None, ()), 32, 4, downscale=8)
    face = draw_face(np.random.default_rng(13), Frequencies({}))
    drawn = render_face(face, ("hair",), 32)
    if modality == "hair":
        expected = encoder.encode_map(torch.from_numpy(drawn.maps["hair"])[None].float() / 255)
    else:
        expected = encoder.encode_sketch(torch.from_numpy(drawn.image.copy())[None].float() / 255)
    torch.testing.assert_close(told.maps[2:3], expected.maps)
    assert told.maps.any()
    picture = np.concatenate(list(prepared.parts["faces"].chunks()))[2]
    assert np.array_equal(picture, drawn.image)


def test_networks_and_vaes_of_different_channels_are_refused(config, tmp_path):
    config.write_text(CONFIG.replace("channels = 4", "channels = 3"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"latents have 4 channels and .* in_channels = 3; set"):
        train(config, tmp_path / "runs")


def test_a_missing_vae_is_named(config, tmp_path):
    (tmp_path / "vae.safetensors").unlink()
    with pytest.raises(ValueError, match=r"Expected a VAE at .* and there is none; train it first"):
        train(config, tmp_path / "runs")


def test_the_start_of_the_experts_can_be_read():
    config = load_config(Path(__file__).resolve().parents[3] / "studies" / "configs" / "start256.toml")
    check_config(config, MixtureKind())
    assert config.vae is not None

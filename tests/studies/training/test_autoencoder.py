"""A VAE's training on drawings, from its configuration to its file."""

from pathlib import Path

import pytest

from mcdm_core.checkpoints.autoencoders import encoder_key, load_autoencoder
from mcdm_core.training.autoencoder.config import load_autoencoder_config
from studies.cli import main, train
from studies.training.mixture_kind import MixtureKind

from ...support.tiny_runs import csv_rows

CONFIG = """
name = "vae"
image_size = 32
[autoencoder]
widths = [4, 4, 6, 8]
[data]
kind = "mixture"
[data.sets.faces]
seed = 11
count = 3
[data.sets.animals]
seed = 31
count = 2
[data.sets.landscapes]
seed = 51
count = 2
[objective]
crop = 16
encoder_until = 0.5
[optimizer]
steps = 6
batch_size = 2
warmup = 2
autocast = false
[report]
every = 2
held_out_every = 3
held_out = 2
samples = 1
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "vae.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_the_command_trains_and_writes_a_vae(config, tmp_path):
    assert main(["train", str(config), "--runs", str(tmp_path), "--threads", "1"]) == 0
    folder = tmp_path / "vae"
    assert load_autoencoder(folder / "vae.safetensors").config.widths == (4, 4, 6, 8)
    assert [row["step"] for row in csv_rows(folder / "loss.csv")] == ["2", "4", "6"]
    held_out = csv_rows(folder / "held_out.csv")
    kinds = ("faces", "animals", "landscapes")
    assert [(row["step"], row["kind"]) for row in held_out] == [(step, kind) for step in "36" for kind in kinds]
    assert all(0 < float(row["psnr"]) < 60 for row in held_out)
    assert (folder / "samples_000006.png").exists()


def test_runs_are_not_begun_twice_nor_from_a_file(config, tmp_path):
    written = train(config, tmp_path)
    with pytest.raises(ValueError, match="holds an earlier run; add --resume"):
        train(config, tmp_path)
    with pytest.raises(ValueError, match="from its own state only"):
        train(config, tmp_path, str(written))
    assert train(config, tmp_path, "state") == written


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop = 16", "crop = 12", "image_size = 32 and crop = 12; change them"),
        ("crop = 16", "crop = 40", "the crop to no more than the picture"),
        ('kind = "mixture"', 'kind = "faces"', "Expected .* of kind 'mixture' .* and got 'faces' with sets"),
        ("[data.sets.animals]", "[data.sets.cars]", r"with sets of \['cars', 'faces', 'landscapes'\]; correct"),
        ('kind = "mixture"', 'kind = "mixture"\nmodalities = ["hair"]', "no conditions in common"),
        ("seed = 31", "seeds = 31", r"\[data.sets.animals\] has unknown names \['seeds'\]"),
        ("seed = 31", 'seed = "31"', r"\[data.sets.animals\]: expected a whole number for seed"),
        ("encoder_until = 0.5", "encoder_until = 1.0", "set it between 0 and 1"),
    ],
)
def test_wrong_configurations_are_refused(config, tmp_path, old, new, message):
    config.write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path)


@pytest.mark.long
def test_a_decoder_is_trained_on_from_a_file(config, tmp_path):
    begun = train(config, tmp_path / "first")
    text = f'start = "{begun.relative_to(tmp_path).as_posix()}"\n{CONFIG}'
    config.write_text(text, encoding="utf-8")
    written = train(config, tmp_path / "further")
    assert encoder_key(load_autoencoder(written)) == encoder_key(load_autoencoder(begun))
    assert written.read_bytes() != begun.read_bytes()


@pytest.mark.parametrize("name", ["vae", "decoder"])
def test_the_shipped_configurations_can_be_read(name):
    config = load_autoencoder_config(Path(__file__).resolve().parents[3] / "studies" / "configs" / f"{name}.toml")
    MixtureKind().check_pictures(config.data)
    assert config.image_size == 256

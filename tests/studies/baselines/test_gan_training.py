"""Training of the GAN."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mcdm_core.training.data.sources import MapConditions, PictureSet
from studies.baselines import load_gan
from studies.baselines.adversaries import Adversaries
from studies.baselines.config import load_gan_config
from studies.baselines.training import GanTrainer, train_gan
from studies.cli import main
from studies.training.sets import PictureSets

from ...support.tiny_runs import Interrupting, assert_goes_on_as_if_uninterrupted, csv_rows

CONFIG = """
name = "gan"
[gan]
discriminator_width = 4
scales = 2
[gan.generator]
channels = [8, 8, 8, 8]
hidden = 4
noise_dim = 4
[data]
kind = "faces"
modalities = ["hair", "skin"]
count = 6
[data.sets.hair]
seed = 11
[data.sets.skin]
seed = 31
[optimizer]
steps = 6
batch_size = 2
warmup = 2
condition_dropout = 0.0
autocast = false
[report]
every = 2
held_out_every = 3
held_out = 2
samples = 1
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "gan.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def source():
    """Two sets, each of two pictures whose left or right half is bright, as its map says."""

    def halves(name, bright):
        maps = torch.zeros(2, 64, 64, dtype=torch.uint8)
        maps[0, :, :32], maps[1, :, 32:] = 255, 255
        images = torch.where(maps[:, None] > 0, torch.tensor(bright, dtype=torch.uint8).view(3, 1, 1), 40)
        return PictureSet(images.to(torch.uint8), MapConditions({name: maps[:, None]}))

    return PictureSets({"hair": halves("hair", (230, 200, 40)), "skin": halves("skin", (200, 120, 90))})


@pytest.mark.long
def test_the_command_trains_and_writes_a_generator(config, tmp_path):
    assert main(["train", str(config), "--runs", str(tmp_path)]) == 0
    folder = tmp_path / "gan"
    generator = load_gan(folder / "gan.safetensors")
    assert generator.config.channels == (8, 8, 8, 8)
    losses = csv_rows(folder / "loss.csv")
    assert [row["step"] for row in losses] == ["2", "4", "6"]
    assert losses[0].keys() == {"step", "generator", "matching", "discriminator"}
    held_out = csv_rows(folder / "held_out.csv")
    assert [(row["step"], row["modality"]) for row in held_out] == [(s, m) for s in "36" for m in ("hair", "skin")]
    assert all(0 <= float(row["iou"]) <= 1 for row in held_out)
    assert sorted(path.name for path in folder.glob("samples_*.png")) == ["samples_000003.png", "samples_000006.png"]


def test_an_interrupted_run_equals_an_uninterrupted_one(config, source, tmp_path):
    settings = load_gan_config(config)

    def trainer(folder, at=0):
        return GanTrainer(settings, Interrupting(source, at), source, tmp_path / folder)

    assert_goes_on_as_if_uninterrupted(trainer)
    assert [row["step"] for row in csv_rows(tmp_path / "resumed" / "loss.csv")] == ["2", "4", "6"]


def test_modalities_alternate_and_no_picture_has_both_maps(config, source, tmp_path):
    recording = Interrupting(source)
    trainer = GanTrainer(load_gan_config(config), recording, source, tmp_path)
    seen = []
    losses = trainer.network.losses
    trainer.network.losses = lambda x0, maps, noise: seen.append(maps) or losses(x0, maps, noise)
    for _ in range(4):
        trainer.train_step()
    assert recording.asked == ["hair", "skin", "hair", "skin"]
    assert [maps.amax(dim=(0, 2, 3)).tolist() for maps in seen] == [
        [1, 0],
        [0, 1],
    ] * 2


def test_each_loss_reaches_its_own_network(config):
    network = Adversaries(load_gan_config(config).gan)
    x0, maps, noise = torch.rand(2, 3, 64, 64), torch.rand(2, 2, 64, 64), torch.randn(2, 4)

    def moved(loss):
        network.zero_grad()
        loss.backward()
        return {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}

    for index, owner in enumerate(["generator", "generator", "discriminator"]):
        assert moved(network.losses(x0, maps, noise)[index]) == {owner}


@pytest.mark.long
def test_a_short_training_learns_to_follow_the_maps(config, source, tmp_path):
    text = (
        config.read_text(encoding="utf-8")
        .replace("steps = 6", "steps = 60\nlearning_rate = 2e-3")
        .replace("batch_size = 2", "batch_size = 4")
    )
    config.write_text(
        text.replace("held_out_every = 3", "held_out_every = 0").replace("every = 2", "every = 20"), "utf-8"
    )
    trainer = GanTrainer(load_gan_config(config), source, source, tmp_path)
    trainer.run()
    matching = [float(row["matching"]) for row in csv_rows(tmp_path / "loss.csv")]
    assert matching[-1] < 0.5 * matching[0]
    x0, condition = source.batch("hair", 8, np.random.default_rng(0))
    samples = trainer.average.generator.generate(condition.maps, range(8))
    swapped = trainer.average.generator.generate(condition.maps.flip(-1), range(8))
    assert (samples - x0).abs().mean() < 0.5 * (swapped - x0).abs().mean()


def test_runs_are_not_begun_twice_nor_from_a_file(config, tmp_path):
    written = train_gan(config, tmp_path)
    before = load_file(written)
    with pytest.raises(ValueError, match="holds an earlier run; add --resume"):
        train_gan(config, tmp_path)
    with pytest.raises(ValueError, match="from its own state only"):
        train_gan(config, tmp_path, str(written))
    after = load_file(train_gan(config, tmp_path, "state"))
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'modalities = ["hair", "skin"]',
            'modalities = ["hair", "sketch"]',
            r"and modalities \['hair', 'sketch'\]; correct",
        ),
        ('["hair", "skin"]', '["skin", "hair"]', r"the maps \['hair', 'skin'\] of drawn faces, in this order, and"),
        (
            "seed = 31",
            "seed = 18",
            r"seeds 11 to 18, the last 2 .* \[data.sets.skin\] begins at 18; move its seed to 19",
        ),
        ('kind = "faces"', 'kind = "animals"', "has kind 'animals'"),
        ("count = 6", 'count = 6\ntrained = ["sketch"]', "'sketch' isn't; add it to modalities"),
        ("noise_dim = 4", "noise_dim = 4\nmap_channels = 1", "set map_channels = 2"),
        ("[8, 8, 8, 8]", "[8, 8, 8]", "this generator makes 32"),
        ("scales = 2", "scale = 2", r"\[gan\] of gan.toml has unknown names"),
        ("scales = 2", "scales = 5", "sees 1 to 4 scales"),
        ("hidden = 4", "hidden = -4", "positive integer"),
    ],
)
def test_wrong_configurations_are_refused(config, old, new, message):
    config.write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_gan_config(config)

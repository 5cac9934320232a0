"""Interruption and resumption, to the last bit."""

import signal

import pytest
import torch
from safetensors.torch import load_file

from mcdm_core import load_expert
from mcdm_core.conditions.key import fingerprint
from mcdm_core.system.failures import ForeseenError
from mcdm_core.training.config import load_config
from mcdm_core.training.expert.run import train_expert
from mcdm_core.training.expert.trainer import Trainer
from mcdm_core.training.folder.kind import content_of
from mcdm_core.training.folder.reading import read_folder
from mcdm_core.training.loop.going_on import earlier_stages
from mcdm_core.training.loop.run_folder import run_folder

from ...support.tiny_runs import Interrupting, assert_goes_on_as_if_uninterrupted, write_config, write_folder

DATA = 'kind = "folder"\npath = "pictures"\nmodalities = ["hair", "skin"]'


@pytest.fixture
def config(tmp_path):
    write_folder(tmp_path / "pictures")
    return write_config(tmp_path / "both.toml", data=DATA, network="map_channels = 2", steps=6)


@pytest.fixture
def state(config, tmp_path):
    """The state of two steps of the run."""
    trainer = make_trainer(config, tmp_path / "runs" / "both")
    trainer.train_step()
    trainer.train_step()
    trainer.save()
    return trainer.state_path


def make_trainer(config_path, folder, interrupt_at=0, number=signal.SIGINT):
    config = load_config(config_path)
    source, held_out = read_folder(config_path.parent / "pictures", config.data.modalities, config.image_size, 1)
    trainer = Trainer(config, Interrupting(source, interrupt_at, number), held_out, folder)
    trainer.content = fingerprint({"pictures": content_of(source, held_out)}, {})
    return trainer


def resumed(config_path, folder, interrupt_at=0):
    trainer = make_trainer(config_path, folder, interrupt_at)
    trainer.resume()
    return trainer


@pytest.mark.parametrize(("number", "optimizer"), [(signal.SIGINT, ""), (signal.SIGTERM, "muon = true\n")])
def test_an_interrupted_run_equals_an_uninterrupted_one(config, tmp_path, number, optimizer):
    config.write_text(config.read_text("utf-8") + optimizer, "utf-8")
    assert_goes_on_as_if_uninterrupted(lambda name, at=0: make_trainer(config, tmp_path / name, at, number))


def test_handlers_are_as_before_when_a_run_ends(config, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train_expert(config, tmp_path / "runs")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_interruption_acts_at_once(config, tmp_path):
    trainer = make_trainer(config, tmp_path / "runs" / "both")

    def batch(modality, size, rng):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    trainer.source.batch = batch
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.step == 0
    assert not trainer.state_path.exists()


def test_resuming_without_a_state_begins(config, tmp_path):
    assert train_expert(config, tmp_path, "state").exists()


def test_a_run_goes_on_from_an_expert_file(config, tmp_path):
    short = write_config(tmp_path / "short.toml", data=DATA, network="map_channels = 2", steps=2)
    begun = train_expert(short, tmp_path)
    expert = load_expert(begun)
    assert expert.metadata["card"]["steps"] == 2
    resumed = load_expert(train_expert(config, tmp_path, str(begun)))
    assert resumed.metadata["card"]["steps"] == 6
    earlier = "to step 2: 5 pictures of the folder 'pictures'; on from averaged weights"
    assert resumed.metadata["card"]["earlier"] == earlier
    assert earlier_stages(resumed.metadata["card"])[0] == earlier
    assert len(torch.load(tmp_path / "both" / "state.pt")["optimizer"]["state"]) > 0


def test_an_expert_file_to_go_on_from_takes_the_place_of_the_start(config, tmp_path):
    begun = train_expert(config, tmp_path)
    more = config.read_text().replace("steps = 6", "steps = 7")
    config.write_text('start = "nowhere.safetensors"\n' + more)
    assert train_expert(config, tmp_path / "again", str(begun)).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", "both has made 6 steps, and .* asks for 6 in all; raise steps"),
        ('schedule = "linear"\n', "Expected the schedule of both, cosine, and the configuration has linear; set sched"),
        ('prediction = "eps"\n', "Expected the prediction of both, v, and the configuration has eps; set prediction"),
    ],
)
def test_an_expert_file_that_the_configuration_does_not_go_on_from_is_refused(config, tmp_path, change, message):
    begun = train_expert(config, tmp_path)
    config.write_text(change + config.read_text())
    with pytest.raises(ValueError, match=message):
        train_expert(config, tmp_path / "again", str(begun))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write_folder(folder, count=7),
        lambda folder: (folder / "hair" / "face_0.png").write_bytes((folder / "hair" / "face_5.png").read_bytes()),
    ],
    ids=["another picture", "another map"],
)
def test_a_state_does_not_go_on_with_other_pictures(config, tmp_path, change):
    """Those held out of them may be among those it was trained on."""
    train_expert(config, tmp_path)
    longer = config.read_text().replace("steps = 6", "steps = 7")
    config.write_text(longer)
    change(tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"state\.pt is the state of a run on other pictures, or captions of another"):
        train_expert(config, tmp_path, "state")


def test_a_run_that_is_replaced_does_not_come_back(config, tmp_path, monkeypatch):
    train_expert(config, tmp_path)
    folder = tmp_path / "both"
    for name in ("000006", "of_mine"):
        (folder / f"samples_{name}.png").touch()

    def die(trainer):
        raise MemoryError

    monkeypatch.setattr(Trainer, "train_step", die)
    with pytest.raises(MemoryError):
        train_expert(config, tmp_path, overwrite=True)
    assert not (folder / "state.pt").exists()
    assert [path.name for path in folder.glob("samples_*")] == ["samples_of_mine.png"]


@pytest.mark.parametrize(
    ("old", "new", "differing"),
    [
        ("model_channels = 32", "model_channels = 64", r"\[network\]"),
        ("steps = 6", "steps = 1", r"\[optimizer\]"),  # fewer than made
        ("warmup = 2", "warmup = 3", r"\[optimizer\]"),
        ('modalities = ["hair", "skin"]', 'modalities = ["hair", "skin"]\ncount = 7999', r"\[data\]"),
        ("dropout = 0.1", "dropout = 0.2", r"\[network\]"),
        ("image_size = 16", 'image_size = 16\nprediction = "eps"', "prediction"),
        ("image_size = 16", "image_size = 8", "image_size"),
        ("held_out_every = 0", "held_out_every = 0\nheld_out = 2", r"\[report\]"),  # of a folder of pictures
        ("[optimizer]", '[data.leading]\nhair = "red"\n[optimizer]\nlearning_rate = 1e-3', r"\[data\], \[optimizer\]"),
    ],
)
def test_the_state_of_another_configuration_is_refused(state, config, tmp_path, old, new, differing):
    text = config.read_text(encoding="utf-8")
    assert text.count(old) == 1
    config.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"differs in {differing}; restore the configuration, or add --overwrite"):
        make_trainer(config, state.parent).resume()


def test_a_run_with_more_steps_equals_one_that_had_them_at_once(config, tmp_path):
    constant = config.read_text("utf-8") + "decay_from = 1.0\n"
    config.write_text(constant, "utf-8")
    whole = train_expert(config, tmp_path / "whole")
    config.write_text(constant.replace("steps = 6", "steps = 3"), "utf-8")
    train_expert(config, tmp_path / "runs")
    config.write_text(constant, "utf-8")
    with pytest.raises(KeyboardInterrupt):
        resumed(config, tmp_path / "runs" / "both", 1).run()
    longer = train_expert(config, tmp_path / "runs", "state")  # goes on with more only once

    expected, actual = load_file(whole), load_file(longer)
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    assert "earlier" not in load_expert(whole).metadata["card"]
    assert load_expert(longer).metadata["card"] == {
        **load_expert(whole).metadata["card"],
        "earlier": "to step 3: steps = 3",
    }


def test_a_run_goes_on_with_more_pictures_and_a_decay(state, config):
    text = config.read_text("utf-8").replace("[report]", "count = 9000\n[report]").replace("steps = 6", "steps = 4")
    config.write_text(text + "decay_from = 0.5\n", "utf-8")
    trainer = resumed(config, state.parent)
    assert trainer.earlier == ["to step 2: steps = 6, decay_from = 0.6, count = 8000"]
    rates = []
    while trainer.step < 4:
        trainer.train_step()
        rates.append(trainer.optimizer.param_groups[0]["lr"] / trainer.config.optimizer.learning_rate)
    assert rates == [1.0, 0.5]


def test_what_a_run_says_of_itself_may_change(state, config, tmp_path):
    text = config.read_text(encoding="utf-8").replace(
        "held_out_every = 0", "held_out_every = 0\nevery = 7\nsamples = 1"
    )
    config.write_text(f'{text}[card]\nlicence = "CC0"\n'.replace("image_size", "half = true\nimage_size"), "utf-8")
    trainer = make_trainer(config, state.parent)
    trainer.resume()
    assert trainer.step == 2


def test_a_state_of_another_network_is_refused(state, config):
    saved = torch.load(state)
    saved["network"].popitem()
    torch.save(saved, state)
    with pytest.raises(ValueError, match="state of a network other than the configuration describes; restore"):
        make_trainer(config, state.parent).resume()


def test_the_row_after_a_resumption_is_of_all_steps_since_the_last(config, tmp_path):
    config.write_text(config.read_text("utf-8").replace("held_out_every = 0", "held_out_every = 0\nevery = 4"), "utf-8")
    train_expert(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="Interrupted at step 3; run again with --resume"):
        make_trainer(config, tmp_path / "runs" / "both", 3).run()
    train_expert(config, tmp_path / "runs", "state")
    logs = [(folder / "both" / "loss.csv").read_text("utf-8") for folder in (tmp_path / "whole", tmp_path / "runs")]
    assert logs[0] == logs[1]
    assert logs[0].splitlines()[1].startswith("4,")


def test_a_run_in_a_folder_in_use_is_refused(config, tmp_path):
    with run_folder(tmp_path, "both"), pytest.raises(ForeseenError, match="in use by another run"):
        train_expert(config, tmp_path)


def test_what_a_killed_run_has_left_of_a_file_is_removed(config, tmp_path):
    partial = tmp_path / "both" / "state.pt.0a1b2c3d.partial"
    partial.parent.mkdir()
    partial.touch()
    train_expert(config, tmp_path)
    assert not partial.exists()


def test_logs_are_rewound_to_the_step_resumed_from(config, tmp_path):
    """Also one whose last row a kill has cut off."""
    config.write_text(config.read_text().replace("held_out_every = 0", "held_out_every = 2\nevery = 1\nsamples = 0"))
    train_expert(config, tmp_path)
    folder = tmp_path / "both"
    before = (folder / "loss.csv").read_text(), (folder / "held_out.csv").read_text()
    state = torch.load(folder / "state.pt")
    torch.save({**state, "step": 3}, folder / "state.pt")
    (folder / "loss.csv").write_text(before[0] + "2")
    train_expert(config, tmp_path, "state")
    lines = (folder / "loss.csv").read_text().splitlines()
    assert lines[:4] == before[0].splitlines()[:4]
    assert [line.split(",")[0] for line in lines] == ["step", *"123456"]
    held_out = [line.split(",")[:2] for line in (folder / "held_out.csv").read_text().splitlines()]
    assert held_out == [line.split(",")[:2] for line in before[1].splitlines()]


def test_the_average_follows_the_first_steps_closely(config, tmp_path):
    """The decay is ramped up: (1 + step)/(10 + step) until the configured one is less."""
    trainer = make_trainer(config, tmp_path / "runs" / "both")
    average = list(trainer.average.parameters())
    for step in (1, 2):
        before = [value.clone() for value in average]
        trainer.train_step()
        decay = (1 + step) / (10 + step)
        for old, new, weight in zip(before, average, trainer.network.parameters(), strict=True):
            torch.testing.assert_close(new, decay * old + (1 - decay) * weight)


def test_conditions_are_dropped_from_batches(tmp_path):
    write_folder(tmp_path / "pictures")
    options = "batch_size = 4\nautocast = false\ncondition_dropout = 0.5"
    config = write_config(tmp_path / "both.toml", data=DATA, network="map_channels = 2", optimizer=options)
    trainer = make_trainer(config, tmp_path / "runs" / "both")
    kept = []
    for trainer.step in range(50):
        _, condition, _ = trainer.next_batch()
        kept += condition.maps.flatten(1).any(dim=1).tolist()
    assert sum(kept) / len(kept) == pytest.approx(0.5, abs=0.12)

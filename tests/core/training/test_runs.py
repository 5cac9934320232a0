"""Configurations, starts and logs."""

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core import UNet, UNetConfig, load_expert, prediction_named
from mcdm_core.cli.main import main
from mcdm_core.expert.condition import Condition
from mcdm_core.training.config import load_config, read_toml
from mcdm_core.training.data.sources import drop_rows, null_rows
from mcdm_core.training.expert.held_out import HeldOutReport
from mcdm_core.training.expert.objective import Objective, trained_schedule
from mcdm_core.training.expert.run import train_expert
from mcdm_core.training.expert.trainer import adapt_state
from mcdm_core.training.folder.reading import read_folder
from mcdm_core.training.loop.loop import learning_rate_factor

from ...support.tiny_runs import csv_rows, write_config, write_folder

FOLDER = 'kind = "folder"\npath = "pictures"\n'
BOTH = FOLDER + 'modalities = ["hair", "skin"]'


@pytest.fixture(autouse=True)
def pictures(tmp_path):
    return write_folder(tmp_path / "pictures")


def test_losses_held_out_losses_and_samples_are_logged(tmp_path):
    report = "every = 2\nheld_out_every = 3\nheld_out = 4\nsamples = 2\nsample_steps = 2"
    config = write_config(tmp_path / "both.toml", data=BOTH, network="map_channels = 2", report=report)
    assert main(["train", str(config), "--runs", str(tmp_path / "runs"), "--threads", "1"]) == 0
    folder = tmp_path / "runs" / "both"
    assert [row["step"] for row in csv_rows(folder / "loss.csv")] == ["2", "4"]
    held_out = csv_rows(folder / "held_out.csv")
    assert [(row["step"], row["modality"]) for row in held_out] == [
        ("3", "hair"),
        ("3", "skin"),
        ("4", "hair"),
        ("4", "skin"),
    ]
    assert all(0 < float(row["loss"]) < 10 for row in held_out)
    grid = np.asarray(Image.open(folder / "samples_000003.png").convert("L")).astype(int)
    assert grid.shape == (42 + 4 * 136, 8 + 3 * 136)
    condition = grid[42 : 42 + 128, 8 : 8 + 128]
    assert set(np.unique(condition)) >= {0, 255}
    assert (folder / "samples_000004.png").exists()
    assert load_expert(folder / "both.safetensors").name == "both"


@pytest.mark.parametrize("data", [FOLDER, FOLDER + 'modalities = ["hair"]'], ids=["unconditional", "hair"])
def test_held_out_losses_are_measured_in_batches_of_the_run(tmp_path, data):
    network = UNet(UNetConfig(model_channels=32, channel_mult=(1,), num_res_blocks=1, map_channels=1)).eval()
    source, _ = read_folder(tmp_path / "pictures", ("hair",), 16, 1)
    objective, losses, rows = Objective(trained_schedule("cosine"), prediction_named("v")), [], []
    network.register_forward_pre_hook(lambda network, args: rows.append(len(args[0])))
    for batch_size in (32, 4):
        settings = {"optimizer": f"batch_size = {batch_size}", "report": "held_out = 10\nsamples = 0"}
        config = load_config(write_config(tmp_path / "a.toml", data=data, **settings))
        losses.append(HeldOutReport(config, source, objective, tmp_path).write(network, 0))
    assert rows == [10, 4, 4, 2]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_what_is_logged_does_not_change_what_is_trained(tmp_path):
    silent = write_config(tmp_path / "silent.toml", data=BOTH, network="map_channels = 2")
    report = "held_out_every = 1\nsample_steps = 1\nsamples = 1\nheld_out = 1"
    chatty = write_config(tmp_path / "chatty.toml", data=BOTH, network="map_channels = 2", report=report)
    experts = [load_expert(train_expert(config, tmp_path / "runs")) for config in (silent, chatty)]
    pairs = zip(*(expert.network.parameters() for expert in experts), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_an_expert_starts_from_another(tmp_path):
    start = write_config(tmp_path / "start.toml", data=FOLDER, steps=2)
    begun = load_expert(train_expert(start, tmp_path / "runs"))
    still = write_config(
        tmp_path / "hair.toml",
        data=FOLDER + 'modalities = ["hair"]',
        network="map_channels = 1",
        steps=0,
        top='image_size = 16\nstart = "runs/start/start.safetensors"',
    )
    hair = load_expert(train_expert(still, tmp_path / "runs"))
    x_t, t = torch.randn(2, 3, 16, 16), torch.tensor([10.0, 900.0])
    map_ = Condition(maps=torch.rand(2, 1, 16, 16))
    assert begun.raw(x_t, t, Condition()).abs().max() > 0
    # New channels start at zero: the first prediction is the start's, whatever the map says.
    torch.testing.assert_close(hair.raw(x_t, t, map_), begun.raw(x_t, t, Condition()), atol=1e-5, rtol=1e-5)


def test_weights_of_another_width_are_refused():
    small = {"model_channels": 32, "channel_mult": (1,), "num_res_blocks": 1, "attention_downsamplings": ()}
    two = UNet(UNetConfig(**small, map_channels=2)).state_dict()
    with pytest.raises(ValueError, match="same width and depth"):
        adapt_state(two, UNet(UNetConfig(**small, map_channels=1)))
    with pytest.raises(ValueError, match="same width and depth"):
        adapt_state(two, UNet(UNetConfig(**{**small, "model_channels": 64}, map_channels=2)))


@pytest.mark.parametrize(
    ("more", "layer"),
    [
        ({"attention_downsamplings": (1,)}, r"input_blocks\.1\.1\.norm\.bias"),
        ({"context_dim": 8}, r"middle_block\.1\.encoder_kv\.bias"),
        ({"num_res_blocks": 2}, r"\S+"),
    ],
)
def test_weights_of_other_layers_are_refused(more, layer):
    """Zeros in a norm, a projection and the one after it would never learn."""
    small = {"model_channels": 32, "channel_mult": (1,), "num_res_blocks": 1, "attention_downsamplings": ()}
    one, other = UNet(UNetConfig(**small)), UNet(UNetConfig(**(small | more)))
    for state, network, owner in ((one, other, "this network"), (other, one, "the starting weights")):
        with pytest.raises(ValueError, match=rf"{layer} is one of {owner} alone; start .* same width and depth"):
            adapt_state(state.state_dict(), network)


@pytest.mark.parametrize("branch", [{"num_classes": 3}, {"pooled_dim": 4}])
def test_branches_of_conditions_may_come_and_go(branch):
    small = {"model_channels": 32, "channel_mult": (1,), "num_res_blocks": 1, "attention_downsamplings": ()}
    plain, network = UNet(UNetConfig(**small)), UNet(UNetConfig(**small, **branch))
    adapted = adapt_state(plain.state_dict(), network)
    new = adapted.keys() - plain.state_dict().keys()
    assert len(new) == 1
    assert not any(adapted[name].any() for name in new)
    assert adapt_state(network.state_dict(), plain).keys() == plain.state_dict().keys()


def test_dropped_rows_are_null_and_the_others_untouched():
    condition = Condition(maps=torch.rand(2000, 1, 2, 2) + 0.1)
    dropped = drop_rows(condition, 0.3, np.random.default_rng(0)).maps
    kept = dropped.flatten(1).any(dim=1)
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.04)
    assert torch.equal(dropped[kept], condition.maps[kept])
    assert not dropped[~kept].any()


def test_the_rate_warms_up_and_decays(tmp_path):
    options = load_config(
        write_config(tmp_path / "a.toml", data=FOLDER, steps=100, optimizer="warmup = 10\ndecay_from = 0.5")
    ).optimizer
    factors = [learning_rate_factor(step, options) for step in range(101)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10:51] == [1.0] * 41
    assert factors[50:] == pytest.approx([(100 - step) / 50 for step in range(50, 101)])


def test_whole_numbers_are_numbers_and_lists_are_tuples(tmp_path):
    config = load_config(write_config(tmp_path / "a.toml", data=BOTH, optimizer="learning_rate = 1"))
    assert (config.optimizer.learning_rate, config.network.channel_mult) == (1, (1,))
    assert (config.data.modalities, config.network.pooled_dim) == (("hair", "skin"), None)


def test_a_configuration_may_be_like_another(tmp_path):
    (tmp_path / "first.toml").write_text(
        'name = "a"\nsize = 1\ndata = { sets = [1, 2], seed = 3, of = { x = 1, y = 2 } }'
    )
    (tmp_path / "second.toml").write_text('like = "first.toml"\nname = "b"\n[data]\nsets = [4]\n[data.of]\ny = 5')
    (tmp_path / "third.toml").write_text('like = "second.toml"\ndata = { seed = 6 }')
    inherited = {"name": "b", "size": 1, "data": {"sets": [4], "seed": 3, "of": {"x": 1, "y": 5}}}
    assert read_toml(tmp_path / "second.toml") == inherited
    assert read_toml(tmp_path / "third.toml") == inherited | {"data": inherited["data"] | {"seed": 6}}


def test_tables_and_values_replace_each_other(tmp_path):
    (tmp_path / "first.toml").write_text("a = 1\nb = { c = 2 }")
    (tmp_path / "second.toml").write_text('like = "first.toml"\na = { d = 3 }\nb = 4')
    assert read_toml(tmp_path / "second.toml") == {"a": {"d": 3}, "b": 4}


@pytest.mark.parametrize(
    ("like", "sentence"),
    [
        ('"a.toml"', "a.toml is like a.toml, in a circle; take like out of one of them"),
        ('"b.toml"', "a.toml is like b.toml is like a.toml, in a circle"),
        ('"../b.toml"', "name of a file beside a.toml as like and got '../b.toml'; give it without a folder"),
        ('""', "name of a file beside a.toml as like and got ''"),
        ("3", "name of a file beside a.toml as like and got 3"),
        ('"nowhere.toml"', "Expected nowhere.toml beside a.toml, which is like it, and found none; correct like"),
    ],
)
def test_a_configuration_is_like_another_one_beside_it(tmp_path, like, sentence):
    (tmp_path / "a.toml").write_text(f"like = {like}")
    (tmp_path / "b.toml").write_text('like = "a.toml"')
    with pytest.raises(ValueError, match=sentence):
        read_toml(tmp_path / "a.toml")


def test_dropped_classes_are_class_0():
    condition = Condition(labels=torch.randint(1, 11, (2000,)))
    dropped = drop_rows(condition, 0.3, np.random.default_rng(0)).labels
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(dropped[dropped > 0], condition.labels[dropped > 0])
    assert null_rows(condition).labels.tolist() == [0] * 2000
    assert not null_rows(Condition(maps=-torch.ones(1, 1, 2, 2))).maps.signbit().any()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": "map_channels = 1"}, "need 2 map channels and .* has 1; set map_channels = 2"),
        ({"network": "map_channels = 2\npooled_dim = 8"}, "pooled_dim is 8; remove it"),
        ({"network": "map_channels = 2\nnum_classes = 8"}, "num_classes is 8; remove num_classes"),
        ({"network": "map_channels = 2\nfilm_dim = 8"}, "not trained here"),
        ({"data": FOLDER + 'modalities = ["class"]'}, "has maps, sketches and captions"),
        ({"network": "map_channels = 2\nout_channels = 6"}, "set both to 3"),
        ({"network": "map_channels = 2\nmodel_width = 6"}, r"unknown names \['model_width'\]"),
        ({"top": "image_size = 15"}, "no multiple of 2"),
        ({"top": 'image_size = 16\nschedule = "flow"'}, "discrete timesteps"),
        ({"report": "sample_steps = 1001"}, "at most the 1000 steps .* and sample_steps is 1001; lower it"),
        ({"top": 'image_size = 16\nstart = "nowhere.safetensors"'}, "to start from"),
        ({"data": 'kind = "films"'}, "Expected data of kind 'folder'.* and got 'films'; correct the name"),
        ({"data": 'kind = "folder"'}, "add path"),
        ({"data": FOLDER + 'modalities = ["hair", "hair"]'}, "each modality once"),
        ({"data": FOLDER + 'modalities = ["images", "hair"]'}, "rename its subfolder"),
        ({"data": FOLDER + 'modalities = ["hair", "text"]'}, "unite them"),
        ({"data": FOLDER + 'modalities = ["text"]'}, "needs a dual encoder"),
        ({"data": BOTH + "\n[data.sets.hair]\nseed = 1"}, "same pictures for each modality; remove .data.sets"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_refused_in_a_sentence(tmp_path, change, sentence, capsys):
    config = write_config(tmp_path / "wrong.toml", **({"data": BOTH, "network": "map_channels = 2"} | change))
    with pytest.raises(ValueError, match=sentence):
        train_expert(config, tmp_path / "runs")
    assert main(["train", str(config), "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_configuration_is_refused(tmp_path, capsys):
    (tmp_path / "broken.toml").write_text("name = ")
    assert main(["train", str(tmp_path / "broken.toml")]) == 2
    assert "configuration in TOML" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "nowhere.toml")]) == 2
    assert "nowhere.toml" in capsys.readouterr().err

"""Faces of its own for each map, and networks of which some maps are trained."""

import numpy as np
import pytest
import torch

from mcdm_core import load_expert
from mcdm_core.training.config import load_config
from mcdm_core.training.expert.checks import check_config
from studies.cli import train
from studies.training.faces import FaceKind, draw_faces
from studies.training.sets import held_out_of, set_of

from ...support.tiny_runs import write_config

SETS = """
kind = "faces"
modalities = ["hair", "skin"]
[data.sets.hair]
seed = 41_000_000
count = 4
leading = { hair_color = "blue" }
[data.sets.skin]
seed = 42_000_000
count = 3
"""


def write(path, data, steps=2, top="", channels=2):
    given = {"network": f"map_channels = {channels}", "report": "held_out_every = 0\nheld_out = 1", "top": top}
    optimizer = "batch_size = 4\nwarmup = 1\nautocast = false"
    return write_config(path, data=data, steps=steps, optimizer=optimizer, **given)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def test_each_map_comes_with_faces_of_its_own_set(tmp_path, cache):
    data = load_config(write(tmp_path / "both.toml", SETS)).data
    both = draw_faces(data, cache)
    assert len(both) == 7
    for channel, name in enumerate(("hair", "skin")):
        alone = draw_faces(set_of(data, name), cache)
        x0, condition = both.batch(name, 5, np.random.default_rng(5))
        expected, own = alone.batch(name, 5, np.random.default_rng(5))
        assert torch.equal(x0, expected)
        assert torch.equal(condition.maps[:, channel], own.maps[:, 0])
        assert own.maps.any()
        assert not condition.maps[:, 1 - channel].any()


@pytest.mark.parametrize("seed", ["41_000_005", "40_999_996"])
def test_sets_may_touch(tmp_path, seed):
    check_config(load_config(write(tmp_path / "both.toml", SETS.replace("42_000_000", seed))), FaceKind())


def test_held_out_faces_lie_behind_each_set(tmp_path):
    beside = held_out_of(load_config(write(tmp_path / "both.toml", SETS)).data, 2)
    assert (set_of(beside, "hair").seed, set_of(beside, "hair").count) == (41_000_004, 2)
    assert (set_of(beside, "skin").seed, set_of(beside, "skin").count) == (42_000_003, 2)
    assert set_of(beside, "hair").leading == {"hair_color": "blue"}


def test_the_card_says_what_each_map_was_trained_on(tmp_path):
    path = train(write(tmp_path / "both.toml", SETS), tmp_path / "runs")
    data = load_expert(path).metadata["card"]["data"]
    assert "hair: 4 faces, seed 41000000, leading {'hair_color': 'blue'}; skin: 3 faces, seed 42000000" in data


@pytest.mark.long
def test_a_map_that_is_not_trained_keeps_its_channel(tmp_path):
    hair = 'kind = "faces"\nmodalities = ["hair"]\nseed = 41_000_000\ncount = 4\n'
    train(write(tmp_path / "hair.toml", "\n" + hair, steps=3, channels=1), tmp_path / "runs")
    start = 'start = "runs/hair/hair.safetensors"'
    trained = SETS.replace("[data.sets.hair]", 'trained = ["skin"]\n[data.sets.hair]')
    tuned = load_expert(train(write(tmp_path / "tuned.toml", trained, top=start), tmp_path / "runs"))
    other = SETS.replace("[data.sets.hair]", 'trained = ["hair"]\n[data.sets.hair]')
    again = load_expert(train(write(tmp_path / "again.toml", other, top=start), tmp_path / "runs"))
    stems = [expert.network.state_dict()["input_blocks.0.0.weight"] for expert in (tuned, again)]
    # Rows of one step have the map of one modality only: the other's channel gets no gradient, and stays 0 here.
    skin_of_tuned, skin_of_again = (stem[:, 4 * 4 :].abs().max() for stem in stems)
    assert skin_of_tuned > 0
    assert skin_of_again == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SETS.replace("[data.sets.skin]", "[data.sets.sketch]"), r"sets for \['hair', 'sketch'\]; give each a set"),
        (SETS.replace("leading", "lead"), r"\[data.sets.hair\] has unknown names \['lead'\]; known are \['count'"),
        (SETS.replace('"faces"', '"folder"\npath = "x"'), "same pictures for each modality; remove .data.sets"),
        (
            '\nkind = "faces"\nmodalities = ["text"]\ntext_encoder = "x"\n[data.sets.text]\nseed = 1\n',
            "Only maps of drawn faces have a set for each modality",
        ),
        (SETS.replace("[data.sets.hair]", 'trained = ["text"]\n[data.sets.hair]'), "'text' isn't; add it to modal"),
        (SETS.replace("seed = 42_000_000\n", ""), r"\[data.sets.skin\] has no seed, .*; add seed = "),
        (
            SETS.replace("count = 3", "count = 0"),
            r"\[data.sets.skin\]: expected a whole number of 1 or more for count and got 0; correct it",
        ),
        (SETS.replace("42_000_000", "41_000_003"), r"hair\] takes the seeds 41000000 to 41000004.* begins at 41000003"),
        (SETS.replace("42_000_000", "41_000_004"), r"the last 1 of them held out.*; move its seed to 41000005 or"),
        (SETS.replace("42_000_000", "40_999_998"), r"skin\] takes the seeds 40999998 to 41000001.*sets.hair\] begins"),
        (SETS[: SETS.index("[data.sets")] + "sets = { hair = 3, skin = 4 }\n", "a table of tables for sets and got"),
    ],
)
def test_sets_that_do_not_fit_are_refused(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        train(write(tmp_path / "wrong.toml", data), tmp_path / "runs")

"""Runs on drawn pictures, and configurations of them that cannot be trained."""

import numpy as np
import pytest

from mcdm_core import load_expert
from studies.cli import main, train
from studies.data.faces import DRAWING_VERSION

from ...support.tiny_runs import write_config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": 'kind = "animals"\nmodalities = ["class"]', "network": "", "top": ""}, "set num_classes = 11"),
        ({"data": 'kind = "films"'}, "'animals' or 'product'"),
        ({"data": 'kind = "faces"\nmodalities = ["hair", "nose"]', "top": "image_size = 64"}, "not 'nose'"),
        ({"data": 'kind = "faces"\nmodalities = ["hair", "skin"]'}, "drawn at 64 pixels"),
        ({"data": 'kind = "faces"\nmodalities = ["text"]', "top": "image_size = 64"}, "needs a dual encoder"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_refused_in_a_sentence(tmp_path, change, sentence, capsys):
    config = write_config(tmp_path / "wrong.toml", **({"network": "map_channels = 2"} | change))
    with pytest.raises(ValueError, match=sentence):
        train(config, tmp_path / "runs")
    assert main(["train", str(config), "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_faces_are_drawn_once_and_a_channel_a_map(tmp_path):
    data = 'kind = "faces"\nmodalities = ["hair", "skin"]\ncount = 6\nseed = 40_000_000'
    report = "held_out_every = 2\nheld_out = 2\nsamples = 1\nsample_steps = 1"
    options = {"data": data, "top": "", "steps": 2, "report": report}
    config = write_config(tmp_path / "drawn.toml", network="map_channels = 2", **options)
    config.write_text(config.read_text().replace("patch = 2", "patch = 8"))
    expert = load_expert(train(config, tmp_path / "runs"))
    assert expert.metadata["condition"] == {"kind": "maps", "maps": ["hair", "skin"]}
    drawn = sorted((tmp_path / "runs" / "data").iterdir())
    assert [path.name for path in drawn] == [
        f"faces{DRAWING_VERSION}_40000000_6_hair-skin_uniform.npz",
        f"faces{DRAWING_VERSION}_40000006_2_hair-skin_uniform.npz",
    ]
    times = [path.stat().st_mtime_ns for path in drawn]
    train(config, tmp_path / "runs", "state")
    assert [path.stat().st_mtime_ns for path in drawn] == times
    with np.load(drawn[0]) as training, np.load(drawn[1]) as held_out:
        assert not any(np.array_equal(one, other) for one in training["images"] for other in held_out["images"])

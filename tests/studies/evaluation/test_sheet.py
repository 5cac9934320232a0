"""Sheets of the first samples of a setting."""

import numpy as np
import pytest
from PIL import Image

from studies.cli import main
from studies.evaluation import jobs, sampling, sheet

from ...support.evaluations import InProcess, write_evaluation, write_small_latent, write_small_maps, write_small_vae
from ...support.tiny_runs import write_folder


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    """One setting of an expert of latents, over five faces."""
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)
    monkeypatch.setattr(jobs, "BATCH", 2)
    monkeypatch.setattr(sheet, "BATCH", 2)
    key = write_small_vae(tmp_path / "experts")
    write_small_latent(tmp_path / "experts", "hair", {"kind": "map", "map": "hair"}, {"map_channels": 64}, key)
    data = 'kind = "faces"\nseed = 25_000_000\ncount = 5\nimage_size = 256'
    settings = {
        "united": 'terms = [{ expert = "hair", condition = "hair" }]',
        "stronger": 'steps = 2\nterms = [{ expert = "hair", condition = "hair", weight = 9.0 }]',
    }
    return write_evaluation(tmp_path / "faces.toml", data, ("hair",), settings)


def test_pictures_lie_in_the_order_of_reading():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] + np.full((3, 2, 4, 3), 10, np.uint8)
    found = np.asarray(sheet.tiled(images))
    assert found.shape == (4, 8, 3)
    assert [found[0, 0, 0], found[0, 4, 0], found[2, 0, 0], found[2, 4, 0]] == [10, 11, 12, 0]


def test_the_samples_are_those_that_the_evaluation_draws(evaluation, tmp_path):
    samples = tmp_path / "samples"
    options = ["--setting", "united", "--count", "3", "--samples", str(samples)]
    assert main(["evaluate", "sheet", str(evaluation), *options, "--output", str(tmp_path / "sheet.jpg")]) == 0
    drawn = sorted(samples.glob("*.npy"))
    assert [path.stem.split("_", 1)[1] for path in drawn] == ["00000_2", "00002_2"]
    page = Image.open(tmp_path / "sheet.jpg")
    assert (page.format, page.size) == ("JPEG", (512, 512))
    first = np.load(drawn[0])[0].astype(float)
    assert np.abs(np.asarray(page)[:256, :256] - first).mean() < 10


def test_settings_lie_below_each_other(evaluation, tmp_path):
    def draw(*names):
        named = [word for name in names for word in ("--setting", name)]
        options = [*named, "--count", "3", "--samples", str(tmp_path / "samples")]
        assert main(["evaluate", "sheet", str(evaluation), *options, "--output", str(tmp_path / "sheet.jpg")]) == 0
        return np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(float)

    draw("stronger")
    (drawn,) = (tmp_path / "samples").glob("*_00000_2.npy")
    both = draw("united", "stronger")
    assert both.shape == (512, 768, 3)
    assert np.abs(both[256:, 256:512] - np.load(drawn)[1]).mean() < 10


def test_an_unknown_setting_is_answered_with_those_that_are_there(evaluation, tmp_path, capsys):
    options = ["--setting", "untied", "--output", str(tmp_path / "sheet.jpg")]
    assert main(["evaluate", "sheet", str(evaluation), *options]) == 2
    assert "got 'untied'; there are 'united', 'stronger'" in capsys.readouterr().err


def test_a_sheet_of_a_folder_has_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)
    write_folder(tmp_path / "own", maps=("hair",))
    write_small_maps(tmp_path / "experts", "hair")
    settings = {"united": 'terms = [{ expert = "hair", condition = "hair" }]'}
    config = write_evaluation(tmp_path / "own.toml", 'kind = "folder"\npath = "own"', ("hair",), settings)
    options = ["--setting", "united", "--samples", str(tmp_path / "samples"), "--output", str(tmp_path / "sheet.jpg")]
    assert main(["evaluate", "sheet", str(config), *options]) == 0
    assert sum(len(np.load(path)) for path in (tmp_path / "samples").glob("*.npy")) == 6

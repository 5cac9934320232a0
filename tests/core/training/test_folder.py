"""Training from a folder of one's own."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core import load_expert
from mcdm_core.conditions.reading.sketch import edges
from mcdm_core.training.expert.run import train_expert
from mcdm_core.training.folder.reading import read_folder, split_stems

from ...support.tiny_runs import write_config, write_folder


def read(folder, modalities=("hair", "skin"), size=16):
    return read_folder(folder, modalities, size, held_out=2)


def test_pictures_and_maps_stay_together(tmp_path):
    training, held_out = read(write_folder(tmp_path))
    assert (len(training), len(held_out)) == (5, 1)
    for part in (training, held_out):
        x0, condition = part.batch("hair", 8, np.random.default_rng(0))
        assert x0.shape == (8, 3, 16, 16)
        # The picture's red is 200 where the map is white, and 20 elsewhere.
        red = (x0[:, 0] + 1) * 127.5
        torch.testing.assert_close(red, 20 + 180 * condition.maps[:, 0], atol=1.5, rtol=0)
        assert -1 <= x0.min() <= x0.max() <= 1


@pytest.mark.parametrize(("modality", "channel"), [("hair", 0), ("skin", 1), ("sketch", 2)])
def test_a_map_fills_its_own_channel(tmp_path, modality, channel):
    training, _ = read(write_folder(tmp_path), ("hair", "skin", "sketch"))
    maps = training.batch(modality, 4, np.random.default_rng(0))[1].maps
    assert maps.shape == (4, 3, 16, 16)
    assert maps[:, channel].flatten(1).any(dim=1).all()
    assert not maps[:, [i for i in range(3) if i != channel]].any()


def test_without_a_sketch_folder_the_edges_of_the_picture_are_taken(tmp_path):
    training, _ = read(write_folder(tmp_path), ("sketch",))
    expected = edges(training.images.permute(0, 2, 3, 1).numpy()) * 255
    assert expected.any()
    assert np.array_equal(training.conditions.maps["sketch"][:, 0].numpy(), expected)


def test_sketches_of_one_s_own_are_light_lines_on_black(tmp_path):
    write_folder(tmp_path, maps=("sketch",))
    training, _ = read(tmp_path, ("sketch",), size=24)
    assert set(training.conditions.maps["sketch"][:, 0].unique().tolist()) == {0, 255}


def test_the_middle_square_is_used(tmp_path):
    write_folder(tmp_path, maps=("hair",), size=(40, 24))
    training, _ = read(tmp_path, ("hair",), size=24)
    picture = np.asarray(Image.open(tmp_path / "images" / "face_0.png"))[:, 8:32]
    assert (training.images == torch.from_numpy(picture.copy()).permute(2, 0, 1)).flatten(1).all(dim=1).any()


@pytest.mark.parametrize("modality", ["hair", "sketch"])
def test_a_map_on_nothing_is_one_on_black_and_a_picture_on_nothing_one_on_white(tmp_path, modality):
    write_folder(tmp_path, maps=(modality,))
    expected, _ = read(tmp_path, (modality,))
    for path in (tmp_path / modality).glob("*.png"):
        clear = Image.new("LA", (24, 24), (255, 0))
        clear.putalpha(Image.open(path))
        clear.save(path)
        Image.new("RGBA", (24, 24), (90, 90, 90, 0)).save(tmp_path / "images" / path.name)
    training, _ = read(tmp_path, (modality,))
    assert torch.equal(training.conditions.maps[modality], expected.conditions.maps[modality])
    assert (training.images == 255).all()


def test_what_is_held_out_depends_on_names_alone():
    stems = [f"face_{i}" for i in range(60)]
    training, held_out = split_stems(stems, 64)
    assert len(held_out) == 6
    assert sorted(training + held_out) == sorted(stems)
    assert split_stems(list(reversed(stems)), 64)[1] == list(reversed(held_out))
    assert len(split_stems(stems, 2)[1]) == 2
    assert len(split_stems(stems[:2], 64)[1]) == 1


def test_files_of_other_kinds_are_named(tmp_path, caplog):
    write_folder(tmp_path, maps=("hair",))
    for name in ("notes.txt", ".hidden"):
        (tmp_path / "images" / name).touch()
    draw(tmp_path / "images" / "face_9.jfif")
    draw(tmp_path / "hair" / "face_9.gif")
    training, held_out = read(tmp_path, ("hair",))
    assert len(training) + len(held_out) == 7
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'images'}: 1 of other kinds are left out (notes.txt)."
    ]


def draw(path, mode="L", color=0, size=(24, 24)):
    Image.new(mode, size, color).save(path)


def remove(folder, pattern):
    for path in folder.glob(pattern):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "hair/face_2.png").unlink(), r"1 of 6 have none \(face_2\)"),
        (lambda folder: draw(folder / "hair/nobody.png"), r"no picture of the same name in images \(nobody\)"),
        (lambda folder: (folder / "hair").rename(folder / "hairs"), "hair and there is none"),
        (lambda folder: remove(folder, "images/*"), "found none; put some there"),
        (lambda folder: draw(folder / "hair/face_1.png", size=(24, 12)), "face_1.png is 24 × 12 .* picture 24 × 24"),
        (lambda folder: draw(folder / "hair/face_1.png", "RGB", "red"), "face_1.png: The hair map should be gray"),
        (lambda folder: (folder / "images/face_1.png").write_text("no picture"), "face_1.png should be a picture"),
        (lambda folder: os.truncate(folder / "images/face_1.png", 80), "face_1.png should be a picture"),
        (lambda folder: draw(folder / "images/face_1.jpg"), "share a name"),
        (lambda folder: remove(folder, "*/face_[1-5].png"), "at least two pictures"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_a_sentence(tmp_path, damage, sentence):
    write_folder(tmp_path, maps=("hair",))
    damage(tmp_path)
    with pytest.raises(ValueError, match=sentence) as refusal:
        read(tmp_path, ("hair",))
    assert "\n" not in str(refusal.value)


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("modalities", "network", "condition"),
    [
        ([], "", {"kind": "none"}),
        (["face"], "map_channels = 1", {"kind": "map", "map": "face"}),
        (["glasses"], "map_channels = 1", {"kind": "map", "map": "glasses"}),
        (["sketch"], "map_channels = 1", {"kind": "sketch"}),
        (["hair", "sketch"], "map_channels = 2", {"kind": "maps", "maps": ["hair", "sketch"]}),
    ],
)
def test_an_expert_knows_what_it_was_trained_on(tmp_path, modalities, network, condition):
    write_folder(tmp_path / "pictures", maps=("hair", "face", "glasses"))
    data = f'kind = "folder"\npath = "pictures"\nmodalities = {modalities}'
    config = write_config(tmp_path / "mine.toml", data=data, network=network, steps=2)
    expert = load_expert(train_expert(config, tmp_path / "runs"))
    assert expert.metadata["condition"] == condition
    assert expert.metadata["card"]["data"] == "5 pictures of the folder 'pictures'"
    assert expert.metadata["card"]["steps"] == 2
    null = expert.encoder.null(1)
    x0 = expert.predict_x0(torch.zeros(1, 3, 16, 16), 1.0, null)
    assert x0.isfinite().all()
    if modalities == ["hair", "sketch"]:
        maps = expert.encoder.encode_map(torch.ones(1, 16, 16), "hair").maps
        assert maps[:, 0].all()
        assert not maps[:, 1].any()

"""A folder of one's own pictures: what is read of it, what is measured, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core.conditions import MapEncoder, SketchEncoder, TextEncoder, edges
from mcdm_core.networks import TextTower
from studies.evaluation import folder as folder_module
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.folder import Folder
from studies.metrics import PictureFeatures

from ...support.tiny_runs import write_folder

COUNT, SIZE = 4, 16


@pytest.fixture
def path(tmp_path):
    return write_folder(tmp_path / "mine", count=COUNT, size=(24, 24), captions=True)


@pytest.fixture
def data(path):
    return DataConfig("folder", path=str(path), image_size=SIZE)


@pytest.fixture
def pictures(data):
    return Folder(data)


def square(i):
    """The map of picture i: what `write_folder` draws, shrunk."""
    mask = np.zeros((24, 24), np.uint8)
    mask[2:18, 3 + i : 16 + i] = 255
    return mask


def test_pictures_are_read_in_order_and_at_the_size(pictures):
    assert len(pictures) == COUNT
    assert pictures.images.shape == (COUNT, SIZE, SIZE, 3)
    assert pictures.images.dtype == np.uint8
    assert (pictures.images[:, 5, 8] == [200, 160, 30]).all()  # within the rectangle
    assert (pictures.images[:, 15, 0] == [20, 20, 120]).all()


def test_a_count_takes_the_first_pictures(data, pictures):
    two = Folder(replace(data, count=2))
    assert len(two) == 2
    assert np.array_equal(two.images, pictures.images[:2])
    assert len(Folder(replace(data, count=50))) == COUNT
    assert torch.equal(two.map_of("hair", [1]), pictures.map_of("hair", [1]))  # the others' maps are no strangers


def test_maps_are_read_from_the_subfolder_of_their_name(pictures):
    maps = pictures.map_of("skin", [2, 0])
    assert maps.shape == (2, SIZE, SIZE)
    assert maps.mean(dim=(1, 2)) == pytest.approx([square(i).mean() / 255 for i in (2, 0)], abs=0.02)
    encoded = pictures.encode("skin", MapEncoder("skin", SIZE), [2, 0])
    assert torch.equal(encoded.maps[:, 0], maps)
    assert np.abs(np.asarray(pictures.tile("skin", 2)) / 255 - maps[0].numpy()).max() < 0.01


def test_captions_are_the_first_line_of_their_file(pictures, path):
    tower = TextTower()
    assert pictures.tile("text", 1) == "A scarlet-ish box, number 1"
    (path / "captions" / "face_2.txt").write_text("red hair\npale skin\n", encoding="utf-8")
    (path / "captions" / "face_3.txt").write_text("", encoding="utf-8")
    embedding = pictures.encode("text", TextEncoder(tower, SIZE), [2, 3]).embedding
    assert torch.equal(embedding, tower.encode(["red hair", ""]))
    assert embedding[0].any()


def test_sketches_are_drawings_where_there_are_some_and_edges_elsewhere(data, path, pictures):
    from_edges = pictures.encode("sketch", SketchEncoder(SIZE), [1]).maps[0, 0]
    assert np.array_equal(from_edges.numpy(), edges(pictures.images[1]))
    assert np.array_equal(np.asarray(pictures.tile("sketch", 1)), pictures.images[1])
    (path / "sketch").mkdir()
    line = np.zeros((SIZE, SIZE), np.uint8)
    line[3] = 255
    for i in range(COUNT):
        Image.fromarray(line).save(path / "sketch" / f"face_{i}.png")
    drawn = Folder(data)
    assert np.array_equal(drawn.encode("sketch", SketchEncoder(SIZE), [1]).maps[0, 0].numpy(), line / 255)
    assert np.array_equal(np.asarray(drawn.tile("sketch", 1)), line)


def test_pictures_are_most_like_themselves(pictures):
    assert pictures.measure("similarity", pictures.images, None)["SSIM"] == pytest.approx(np.ones(COUNT))
    assert pictures.measure("edges", pictures.images, None)["edge F1"] == pytest.approx(np.ones(COUNT))
    noise = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    own = Setting("", (TermConfig("sketch", ("sketch",)),))
    assert list(pictures.measure("similarity", noise, own)) == ["SSIM"]  # a perceptual distance needs a network
    assert pictures.measure("similarity", noise, own)["SSIM"].max() < 0.5
    assert pictures.measure("edges", noise, own)["edge F1"].max() < 0.9


def test_sketches_of_another_picture_are_measured_against_that(pictures):
    shifted = Setting("", (TermConfig("sketch", ("sketch",), shift=1),))
    following = pictures.images[[1, 2, 3, 0]]
    assert pictures.measure("edges", following, shifted)["edge F1"] == pytest.approx(np.ones(COUNT))
    assert pictures.measure("similarity", following, shifted) == {}
    assert pictures.measure("edges", following, Setting("", (TermConfig("hair", ("hair",)),))) == {}


def test_only_what_the_pictures_allow_is_measured(data):
    assert Folder(data).measures == ("similarity", "edges")
    assert Folder(replace(data, features="resnet.pth")).measures == ("similarity", "edges", "frechet")


def test_distances_are_taken_over_the_network_of_the_file(data, monkeypatch):
    asked = []

    def read(path):
        asked.append(path)
        return lambda pictures: PictureFeatures((pictures,), pictures.mean(dim=(2, 3)))

    monkeypatch.setattr(folder_module, "resnet_features", read)
    pictures = Folder(replace(data, features="resnet.pth"))
    measured = pictures.measure("similarity", 255 - pictures.images, None)
    assert set(asked) == {"resnet.pth"}
    assert measured["perceptual distance"] == pytest.approx(np.full(COUNT, 4))  # of opposite pictures
    assert np.array_equal(pictures.compared(), pictures.images)


def test_missing_files_are_refused(data, path, pictures):
    """As those to train on are."""
    with pytest.raises(ValueError, match=r"folder's path in \[data\]"):
        Folder(replace(data, path=""))
    (path / "hair" / "face_3.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 have none \(face_3\)"):
        pictures.map_of("hair", [0])
    (path / "captions" / "face_0.txt").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 have none \(face_0\)"):
        pictures.encode("text", TextEncoder(TextTower(), SIZE), [1])

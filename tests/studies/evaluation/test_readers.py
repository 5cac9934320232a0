"""Readers: what they learn, and what the shipped ones make of real renders."""

import numpy as np
import torch

from studies.data.animals import ANIMALS
from studies.data.faces import draw_face, render_face
from studies.evaluation import caption_reader as caption_reader_module
from studies.evaluation import reader as reader_module
from studies.evaluation.animals import animal_reader, draw_labelled, large_animal_reader
from studies.evaluation.caption_reader import CaptionReader, _DisturbedPairs, train_caption_reader
from studies.evaluation.config import DataConfig
from studies.evaluation.decoded import decoded
from studies.evaluation.face_reader import CLASSES, draw_labelled_faces, face_reader, render_incomplete
from studies.evaluation.kinds import open_held_out
from studies.evaluation.mouth import mouth_reader
from studies.evaluation.reader import VAE, AttributeReader, Reader, train_reader, with_decoded
from studies.training.face_pairs import draw_pairs

LARGE_COUNT = 24


def test_a_reader_learns_its_classes(tmp_path):
    labels = torch.arange(2).repeat(32)
    images = torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    images[labels == 0, :, :, :32] = 255
    images[labels == 1, :, :, 32:] = 255
    path = train_reader(tmp_path / "side_reader.safetensors", images, labels[:, None], [2], steps=20, seed=0)
    pictures = images.permute(0, 2, 3, 1).numpy()
    assert Reader(path, ["left", "right"]).read(pictures) == ["left", "right"] * 32
    assert (
        Reader(path, ["left", "right"]).read(pictures[:4].repeat(4, axis=1).repeat(4, axis=2)) == ["left", "right"] * 2
    )


def test_a_reader_learns_several_attributes(tmp_path):
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, [2, 3], (64, 2)))
    images = torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    for image, (side, color) in zip(images, labels.tolist(), strict=True):
        image[color, :, 32 * side : 32 * side + 32] = 255
    path = train_reader(tmp_path / "reader.safetensors", images, labels, [2, 3], steps=30, seed=0)
    reader = AttributeReader(path, {"side": ["left", "right"], "color": ["red", "green", "blue"]})
    read = reader.read(images.permute(0, 2, 3, 1).numpy())
    assert read["side"] == [("left", "right")[side] for side in labels[:, 0]]
    assert read["color"] == [("red", "green", "blue")[color] for color in labels[:, 1]]


def test_large_pictures_are_learned_from_as_drawn_and_as_decoded(monkeypatch):
    monkeypatch.setattr(reader_module, "decoded", lambda images, vae: 255 - images)
    small, large = (np.full((n, size, size, 3), 10 * n, np.uint8) for n, size in ((8, 128), (2, 256)))
    images, labels = with_decoded(small, np.zeros((8, 1)), large, np.ones((2, 1)))
    assert images.shape == (2 * (8 + 4), 3, 128, 128)  # one of three is decoded, and all are mirrored
    assert torch.equal(images[labels[:, 0] == 1], torch.full((8, 3, 128, 128), 235, dtype=torch.uint8))


def test_mouths_of_renders_are_read():
    faces = open_held_out(DataConfig("faces", seed=21_000_000, count=24))
    mouths = [faces[i].face.attributes["mouth"] for i in range(24)]
    assert np.mean(np.array(mouth_reader().read(faces.images)) == mouths) >= 0.85


def test_drawn_animals_are_read():
    images, labels = draw_labelled(37_000_000, 40)
    assert np.mean(np.array(animal_reader().read(images)) == np.array(ANIMALS)[labels]) >= 0.95


def measured(read, labels, classes):
    return np.mean(np.array(read) == np.array(classes)[labels])


def test_faces_of_256_pixels_are_read_as_drawn_and_as_decoded():
    images, labels = draw_labelled_faces(62_000_000, LARGE_COUNT, 256)
    for pictures in (images, decoded(images, VAE)):
        read = face_reader().read(pictures)
        right = [measured(read[name], labels[:, i], values) for i, (name, values) in enumerate(CLASSES.items())]
        assert np.mean(right) >= 0.98
        assert min(right) >= 0.98 - 1 / LARGE_COUNT


def test_animals_of_256_pixels_are_read_as_drawn_and_as_decoded():
    images, labels = draw_labelled(63_000_000, LARGE_COUNT, 256)
    for pictures in (images, decoded(images, VAE)):
        assert measured(large_animal_reader().read(pictures), labels, ANIMALS) >= 0.98


def test_eyes_are_taken_away_or_smeared_and_nothing_else():
    face = draw_face(np.random.default_rng(62_000_000))
    whole = render_face(face, (), 128).image
    missing = [render_incomplete(face, np.random.default_rng(seed), 128) for seed in range(8)]
    changed = [(picture != whole).any(axis=-1) for picture in missing]
    eyes = (render_face(face, (), 128, left_out="eyes").image != whole).any(axis=-1)
    assert all(pixels.any() for pixels in changed)
    assert any(np.array_equal(pixels, eyes) for pixels in changed)  # both
    assert any(0.3 < pixels.sum() / eyes.sum() < 0.7 and (pixels <= eyes).all() for pixels in changed)  # one
    rows = np.flatnonzero(eyes.any(axis=1))
    assert all(np.flatnonzero(pixels.any(axis=1))[0] >= rows[0] for pixels in changed)
    assert all(np.flatnonzero(pixels.any(axis=1))[-1] <= rows[-1] for pixels in changed)


def test_a_caption_reader_is_trained_on_disturbed_pictures(tmp_path, monkeypatch):
    pairs = draw_pairs(12_000_000, 8)
    images, _, _ = _DisturbedPairs(pairs).batch(4, np.random.default_rng(0))
    plain, _, _ = pairs.batch(4, np.random.default_rng(0))
    assert images.dtype == plain.dtype == torch.uint8
    assert images.shape == plain.shape
    assert not torch.equal(images, plain)
    monkeypatch.setattr(caption_reader_module, "draw_pairs", lambda *_: pairs)
    path = train_caption_reader(tmp_path / "reader.safetensors", steps=2, count=8)
    scores = CaptionReader(path).score(pairs.images.permute(0, 2, 3, 1).numpy(), ["red hair"] * 8)
    assert scores.shape == (8,)
    assert np.abs(scores).max() <= 1


def test_captions_of_renders_are_told_from_those_of_others():
    faces = open_held_out(DataConfig("faces", seed=21_000_000, count=24))
    captions = [faces[i].caption for i in range(24)]
    own, others = (CaptionReader().score(faces.images, texts) for texts in (captions, captions[1:] + captions[:1]))
    assert np.mean(own > others) >= 0.95

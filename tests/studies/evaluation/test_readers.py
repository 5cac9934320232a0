"""Readers: what they learn, and what the shipped ones make of real renders."""

import numpy as np
import torch

from studies.data.animals import ANIMALS
from studies.evaluation import caption_reader as caption_reader_module
from studies.evaluation.animals import animal_reader, draw_labelled
from studies.evaluation.caption_reader import CaptionReader, _DisturbedPairs, train_caption_reader
from studies.evaluation.config import DataConfig
from studies.evaluation.kinds import open_held_out
from studies.evaluation.mouth import mouth_reader
from studies.evaluation.reader import Reader, train_reader
from studies.training.face_pairs import draw_pairs


def test_a_reader_learns_its_classes(tmp_path):
    labels = torch.arange(2).repeat(32)
    images = torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    images[labels == 0, :, :, :32] = 255
    images[labels == 1, :, :, 32:] = 255
    path = train_reader(tmp_path / "side_reader.safetensors", images, labels, 2, steps=20, seed=0)
    assert Reader(path, ["left", "right"]).read(images.permute(0, 2, 3, 1).numpy()) == ["left", "right"] * 32


def test_mouths_of_renders_are_read():
    faces = open_held_out(DataConfig("faces", seed=21_000_000, count=24))
    mouths = [faces[i].face.attributes["mouth"] for i in range(24)]
    assert np.mean(np.array(mouth_reader().read(faces.images)) == mouths) >= 0.85


def test_drawn_animals_are_read():
    images, labels = draw_labelled(37_000_000, 40)
    assert np.mean(np.array(animal_reader().read(images)) == np.array(ANIMALS)[labels]) >= 0.95


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

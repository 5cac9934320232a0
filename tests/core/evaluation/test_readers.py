"""Readers: what they learn, and what the shipped ones make of real renders."""

import numpy as np
import torch

from mcdm_core.data.animals import ANIMALS
from mcdm_core.evaluation.animals import animal_reader, draw_labelled
from mcdm_core.evaluation.held_out import VALIDATION_SEED, draw_held_out
from mcdm_core.evaluation.mouth import mouth_reader
from mcdm_core.evaluation.reader import Reader, train_reader


def test_a_reader_learns_its_classes(tmp_path):
    labels = torch.arange(2).repeat(32)
    images = torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    images[labels == 0, :, :, :32] = 255
    images[labels == 1, :, :, 32:] = 255
    path = train_reader(tmp_path / "side_reader.safetensors", images, labels, 2, steps=20, seed=0)
    assert Reader(path, ["left", "right"]).read(images.permute(0, 2, 3, 1).numpy()) == ["left", "right"] * 32


def test_mouths_of_renders_are_read():
    held_out = draw_held_out(VALIDATION_SEED, 40)
    mouths = [face.attributes["mouth"] for face in held_out.faces]
    assert np.mean(np.array(mouth_reader().read(held_out.images)) == mouths) >= 0.85


def test_drawn_animals_are_read():
    images, labels = draw_labelled(37_000_000, 40)
    assert np.mean(np.array(animal_reader().read(images)) == np.array(ANIMALS)[labels]) >= 0.95

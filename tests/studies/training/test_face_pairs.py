"""Drawn faces with captions, which the dual encoder of faces is trained on."""

import numpy as np
import pytest
import torch

from mcdm_core.networks.text_tower import TextTowerConfig
from mcdm_core.training.config import DualEncoderConfig
from mcdm_core.training.dual_encoder import DualEncoder
from mcdm_core.training.kinds import kind_named
from mcdm_core.training.pairs import HELD_OUT
from studies.training.face_pairs import NAMES, draw_pairs, matches


def test_a_face_caption_fits_all_faces_it_is_true_of():
    values = np.array([[0, 1], [0, 2], [1, 1]])
    named = np.array([[True, False], [True, True], [False, True]])
    assert matches(values, named).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_drawn_pairs_learn_to_match():
    pairs = draw_pairs(41_000_000, 24)
    assert pairs.values.shape == (24, len(NAMES))
    torch.manual_seed(0)
    model = DualEncoder(TextTowerConfig(width=32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(50):
        loss = model.loss(*pairs.batch(12, np.random.default_rng(step % 3)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.75 * np.mean(losses[:3])


def test_a_dual_encoder_without_a_folder_is_trained_on_drawn_faces(tmp_path):
    config = DualEncoderConfig(seed=41_000_000, count=3)
    pairs = kind_named(config.kind).prepare_pairs(config, tmp_path)
    assert len(pairs.source.images) == 3
    assert np.array_equal(pairs.held_out.values, draw_pairs(41_000_003, HELD_OUT).values)
    assert pairs.tower == TextTowerConfig()


def test_pictures_without_captions_train_no_dual_encoder(tmp_path):
    with pytest.raises(ValueError, match=r"pictures with captions and got .* 'animals', which have none"):
        kind_named("animals").prepare_pairs(DualEncoderConfig(), tmp_path)

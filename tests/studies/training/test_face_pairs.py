"""Drawn faces with captions, which the dual encoder of faces is trained on."""

import numpy as np
import pytest
import torch

from mcdm_core.networks.text_tower import TextTowerConfig
from mcdm_core.training.config import DualEncoderConfig
from mcdm_core.training.data.sources import HELD_OUT
from mcdm_core.training.dual_encoder.towers import DualEncoder
from mcdm_core.training.kinds import kind_named
from studies.data.faces import ATTRIBUTES
from studies.training.animals import AnimalKind
from studies.training.face_pairs import NAMES, FacePairs, draw_pairs, matches
from studies.training.kinds import KINDS


def test_a_face_caption_fits_all_faces_it_is_true_of():
    values = np.array([[0, 1], [0, 2], [1, 1]])
    named = np.array([[True, False], [True, True], [False, True]])
    assert matches(values, named).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


@pytest.mark.long
def test_drawn_pairs_learn_to_match():
    pairs = draw_pairs(41_000_000, 24)
    assert pairs.values.shape == (24, len(NAMES))
    torch.manual_seed(0)
    model = DualEncoder(TextTowerConfig(width=32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(24):
        loss = model.loss(*pairs.batch(8, np.random.default_rng(step % 3)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.75 * np.mean(losses[:3])


def test_contrasts_hold_faces_with_their_two_colors_exchanged():
    def face(hair_color: str, tone: str, mouth: int) -> list[int]:
        values = dict.fromkeys(NAMES, 0) | {"mouth": mouth}
        values["hair_color"] = ATTRIBUTES["hair_color"].index(hair_color)
        values["background"] = ATTRIBUTES["background"].index(tone)
        return [values[name] for name in NAMES]

    faces = [("red", "white", 0), ("blue", "green", 1), ("green", "blue", 2), ("green", "blue", 1), ("pink", "blue", 1)]
    values = np.array([face(*each) for each in faces])
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 64, 64)
    rng = np.random.default_rng(0)
    shown = FacePairs(images, values).contrasts(40, rng)[0][:, 0, 0, 0].tolist()
    partner = {1: [3], 2: [1], 3: [1]}  # of the two that have green hair on blue, the one with the same mouth
    assert {*shown[:10]} == {*partner}
    assert all(other in partner[one] for one, other in zip(shown[:10], shown[10:20], strict=True))
    assert {*shown[20:]} == {*range(5)}


def test_contrasts_of_faces_without_such_colors_are_any_faces():
    values = np.zeros((3, len(NAMES)), dtype=int)
    images = torch.zeros(3, 3, 64, 64, dtype=torch.uint8)
    assert len(FacePairs(images, values).contrasts(8, np.random.default_rng(0))[1]) == 8


@pytest.mark.long
def test_a_dual_encoder_without_a_folder_is_trained_on_drawn_faces(tmp_path):
    config = DualEncoderConfig(seed=41_000_000, count=3)
    pairs = kind_named(config.kind, KINDS).prepare_pairs(config, tmp_path)
    assert len(pairs.source.images) == 3
    assert np.array_equal(pairs.held_out.values, draw_pairs(41_000_003, HELD_OUT).values)
    assert pairs.tower == TextTowerConfig()


def test_pictures_without_captions_train_no_dual_encoder(tmp_path):
    with pytest.raises(ValueError, match=r"pictures with captions and got .* 'animals', which have none"):
        AnimalKind().prepare_pairs(DualEncoderConfig(), tmp_path)

"""The pictures of the pages: who is asked what in each cell, and what the files hold."""

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from mcdm_core import OWN_NULL, load_expert
from mcdm_core.cli.demo import CAPTIONS, WEIGHTS
from mcdm_core.cli.main import main as core
from mcdm_core.product.rules.eq10 import EQ10
from studies import gallery
from studies.cli import main
from studies.evaluation.config import load_evaluation
from studies.gallery import lora_pair, regions, two_spaces, weight
from studies.gallery.faces import caption_term, face_map, map_term
from studies.gallery.runs import Run, at_most, drawn_grid


@pytest.fixture(scope="module")
def faces():
    return {name: load_expert(name) for name in WEIGHTS}


@pytest.fixture(scope="module")
def pixels():
    return {name: load_expert(two_spaces.PIXELS / f"{name}.safetensors") for name in two_spaces.MAPS}


@pytest.fixture(scope="module")
def bleeding():
    return load_evaluation(lora_pair.TABLE)


def runs_of(rows):
    return [[cell for cell in row if isinstance(cell, Run)] for row in rows]


def weights_of(run):
    return {term.expert.name: term.weight for term in run.terms}


# The command.


@pytest.mark.parametrize("names", [["wieght"], ["weight", "demo"]])
def test_a_picture_that_there_is_not_is_answered_with_those_that_there_are(names, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["gallery", "--out", str(tmp_path), *names])
    assert stopped.value.code == 2
    assert f"there is no picture {names[-1]!r}; choose from {', '.join(gallery.NAMES)}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_there_is_not_is_refused(tmp_path, capsys):
    assert main(["gallery", "--out", str(tmp_path / "dosc"), "regions"]) == 2
    assert "Expected a folder" in capsys.readouterr().err


def test_steps_are_no_more_than_asked():
    assert [at_most(25, most) for most in (0, 3, 25, 40)] == [25, 3, 25, 25]


@pytest.mark.long
def test_all_pictures_are_written_where_no_name_is_given(tmp_path):
    assert main(["gallery", "--steps", "1", "--out", str(tmp_path)]) == 0
    assert {path.name: Image.open(path).format for path in tmp_path.iterdir()} == {
        "weight.webp": "WEBP",
        "regions.jpg": "JPEG",
        "lora_pair.jpg": "JPEG",
        "two_spaces.jpg": "JPEG",
    }


# One cell.


def test_a_cell_is_what_the_command_line_draws_from_its_seed(faces, tmp_path):
    term = replace(regions.region_terms(faces, 0)[2], mask=None)
    file = tmp_path / "face.png"
    asked = ["--expert", "text", "--text", regions.LEFT, "--weight", str(regions.WEIGHT), "--steps", "2", "--eta", "1"]
    assert core(["sample", *asked, "--seed", "5", "--device", "cpu", "--output", str(file)]) == 0
    assert np.array_equal(np.asarray(Run([term], seed=5, steps=2).picture()), np.asarray(Image.open(file)))


def test_a_grid_holds_the_pictures_of_its_runs(faces):
    run = Run([caption_term(faces["text"], 0, 4.0)], seed=0, steps=1)
    page = drawn_grid("a test", ["asked", "drawn"], [["a face", run]], 256)
    assert page.size == (8 + 2 * 264, 256 // 3 + 264)
    assert np.array_equal(np.asarray(page)[256 // 3 :, 272:][:256, :256], np.asarray(run.picture()))


# The weight.


def test_only_the_weight_of_the_caption_differs_between_frames(faces):
    frames = weight.weight_runs(faces, (0, 5), steps=3, faces=2)
    assert [[weights_of(run) for run in frame] for frame in frames] == [
        [{"hair": 2.0, "skin": 2.0, "text": caption}] * 2 for caption in (0, 5)
    ]
    for frame in frames:
        assert [(run.seed, run.steps, run.eta, run.rule) for run in frame] == [(0, 3, 1.0, EQ10), (1, 3, 1.0, EQ10)]
        for face, run in enumerate(frame):
            expected = [
                *(map_term(faces[name], face, 1) for name in ("hair", "skin")),
                caption_term(faces["text"], face, 1),
            ]
            assert all(t.condition.same_as(e.condition) for t, e in zip(run.terms, expected, strict=True))


def test_frames_are_equal_but_for_their_number_and_their_faces():
    frames = weight.draw_weight(2, weights=(0, 8), faces=1)
    assert len({frame.size for frame in frames}) == 1
    changed = np.any(np.asarray(frames[0]) != np.asarray(frames[1]), axis=2)
    sampled = len(changed) - weight.TILE - 8
    assert changed[: weight.BANNER].any()
    assert not changed[weight.BANNER : sampled].any()  # the maps and the caption
    assert changed[sampled:].mean() > 0.2


def test_captions_have_room_above_their_faces():
    titles = weight.titles_of(CAPTIONS)
    assert [" ".join(title.split()) for title in titles] == [*CAPTIONS]
    assert max(title.count("\n") for title in titles) <= 2


def test_the_number_of_a_frame_stands_out_and_no_other():
    discs = []
    for place in range(3):
        banner = np.asarray(weight._banner((0, 1, 2), place, 700)).min(axis=2)
        dark = (banner < 64).mean(axis=0)[300:]  # right of the title
        discs.append(int((dark * np.arange(len(dark))).sum() / dark.sum()))
    assert discs == sorted(discs)
    assert all(later - earlier > 60 for earlier, later in pairwise(discs))


def test_the_animation_begins_again_without_end_and_rests_at_both_ends():
    frames = [Image.new("RGB", (64, 64), (60 * step, 0, 0)) for step in range(4)]
    film = Image.open(io.BytesIO(weight.animated(frames)))
    assert (film.format, film.n_frames, film.info["loop"]) == ("WEBP", 4, 0)
    shades, durations = [], []
    for place in range(film.n_frames):
        film.seek(place)
        film.load()
        shades.append(round(np.asarray(film.convert("RGB"))[..., 0].mean() / 60))
        durations.append(film.info["duration"])
    assert shades == [0, 1, 2, 3]
    assert durations == [weight.PAUSE, weight.SHOWN, weight.SHOWN, weight.PAUSE]


# The masks.


def test_sides_have_masks_and_what_is_alone_has_none(faces):
    rows = regions.region_rows(faces, (0, 1), steps=4)
    assert [len(row) for row in rows] == [len(regions.COLUMNS)] * 4
    for seed, runs in enumerate(runs_of(rows)[2:]):
        maps, left, right, united = runs
        assert [(run.seed, run.steps, run.eta) for run in runs] == [(seed, 4, 1.0)] * 4
        assert [term.mask for run in (maps, left, right) for term in run.terms] == [None] * 4
        assert [term.weight for term in united.terms] == [2.0, 2.0, 12.0, 12.0]
        assert [term.mask is None for term in united.terms] == [True, True, False, False]
        assert torch.equal(united.terms[2].mask + united.terms[3].mask, torch.ones(32, 32))
        alone = [*maps.terms, *left.terms, *right.terms]
        assert all(one.condition.same_as(term.condition) for one, term in zip(alone, united.terms, strict=True))


def test_masks_are_shown_as_they_are_with_a_line_around_them(faces):
    everywhere, left, right = (np.asarray(cell)[..., 0] for cell in regions.region_rows(faces, (), 1)[1][1:4])
    inside = np.s_[1:-1, 1:-1]
    assert (everywhere[inside] == 255).all()
    assert np.abs(left[inside].astype(int) + right[inside] - 255).max() <= 1
    assert (right[inside][:, :60] == 0).all()
    assert (everywhere[0] < 200).all()


@pytest.mark.long
def test_each_side_is_nearer_to_what_its_caption_draws_alone(faces):
    """At the upper corners, where the background is."""
    _, left, right, united = (
        np.asarray(run.picture(), float) for run in runs_of(regions.region_rows(faces, (1,), regions.STEPS))[-1]
    )
    for corner, own, other in ((np.s_[:24, :24], left, right), (np.s_[:24, -24:], right, left)):
        assert np.abs(united[corner] - own[corner]).mean() < np.abs(united[corner] - other[corner]).mean()


# Two LoRAs.


def test_rows_are_the_first_pictures_of_the_table(bleeding):
    rows = lora_pair.lora_pair_rows(bleeding, range(2))
    assert [len(row) for row in rows] == [len(lora_pair.COLUMNS)] * 2
    for index, row in enumerate(rows):
        held_out = lora_pair.ColorPairs(bleeding.data)[index]
        assert row[:2] == [held_out.captions["hair_color"], held_out.captions["background"]]
        runs = row[2:]
        assert {(run.seed, run.steps, run.eta) for run in runs} == {(index, 10, 0.0)}
        assert [[term.weight for term in run.terms] for run in runs] == [
            [4.0],
            [4.0],
            [4.0],
            [0.0, 2.0, 2.0],
            [2.0, 2.0],
        ]
        assert [run.rule for run in runs] == [EQ10, EQ10, EQ10, EQ10, OWN_NULL]
        assert [term.reliability for term in runs[3].terms] == [1.0, 0.0, 0.0]


# Two latent spaces.


def test_maps_are_of_small_pictures_and_captions_of_latents(pixels, faces):
    rows = two_spaces.two_spaces_rows(pixels | {"text": faces["text"]}, (0, 2), steps=6)
    assert [len(row) for row in rows] == [len(two_spaces.COLUMNS)] * 2
    for seed, row in zip((0, 2), rows, strict=True):
        assert row[2] == CAPTIONS[seed]
        assert np.array_equal(np.asarray(row[0]), np.asarray(face_map(seed, "hair")))
        runs = row[3:]
        assert [(run.seed, run.steps, run.eta) for run in runs] == [(seed, 6, 1.0)] * 3
        assert [weights_of(run) for run in runs] == [
            {"hair": 2.0, "skin": 2.0},
            {"text": 5.0},
            {"hair": 2.0, "skin": 2.0, "text": 5.0},
        ]
        assert [term.expert.image_size for term in runs[2].terms] == [256, 64, 64]
        assert [term.expert.space for term in runs[2].terms] == [faces["text"].space, *[pixels["hair"].space] * 2]


def test_the_product_of_both_spaces_is_as_large_as_the_caption_s_picture(pixels, faces):
    maps, caption, both = runs_of(two_spaces.two_spaces_rows(pixels | {"text": faces["text"]}, (0,), steps=1))[0]
    assert [run.picture().size for run in (maps, caption, both)] == [(64, 64), (256, 256), (256, 256)]

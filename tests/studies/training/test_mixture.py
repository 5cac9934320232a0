"""Drawn sets at other sizes, and mixtures of kinds."""

import numpy as np
import pytest

from mcdm_core.training.config import DataConfig, load_config
from studies.training.mixture import parts_of
from studies.training.mixture_kind import MixtureKind, drawings_of
from studies.training.sets import held_out_of

from ...support.tiny_runs import write_config


def halved(images):
    """Means of 2 × 2 pixels."""
    count, side = images.shape[:2]
    return images.reshape(count, side // 2, 2, side // 2, 2, -1).astype(float).mean(axis=(2, 4))


@pytest.mark.parametrize("kind", ["faces", "landscapes", "animals"])
def test_a_size_changes_nothing_but_the_resolution(kind, tmp_path):
    modalities = ("hair", "skin") if kind == "faces" else ()
    data = DataConfig(kind, modalities, seed=7, count=3)
    small, large = (drawings_of(data, size).draw(tmp_path) for size in (64, 128))
    assert large["images"].shape == (3, 128, 128, 3)
    difference = np.abs(halved(large["images"]) - small["images"])
    assert difference.mean() < 2
    for name in set(small) - {"images"}:
        if kind == "faces":
            assert np.abs(halved(large[name])[..., 0] - small[name]).mean() < 2
        else:
            assert np.array_equal(large[name], small[name])


def test_sets_that_are_drawn_otherwise_have_other_names():
    sets = [
        DataConfig("faces", seed=1, count=2),
        DataConfig("faces", seed=2, count=2),
        DataConfig("faces", ("hair",), seed=1, count=2),
        DataConfig("faces", seed=1, count=2, leading={"hair_color": "red"}),
        DataConfig("faces", seed=1, count=2, leading={"hair_color": "red"}, share=1.0),
        DataConfig("animals", seed=1, count=2),
        DataConfig("landscapes", seed=1, count=2),
    ]
    names = [drawings_of(data, size).name for data in sets for size in (64, 128)]
    assert len(set(names)) == len(names)


def test_a_mixture_has_parts_of_several_kinds():
    sets = {"faces": {"seed": 5, "count": 3, "leading": {"hair_color": "red"}}, "animals": {"seed": 9, "count": 2}}
    parts = parts_of(DataConfig("mixture", sets=sets))
    assert parts == {
        "faces": DataConfig("faces", seed=5, count=3, leading={"hair_color": "red"}),
        "animals": DataConfig("animals", seed=9, count=2),
    }
    held_out = parts_of(held_out_of(DataConfig("mixture", sets=sets), 4))
    assert [(part.seed, part.count) for part in held_out.values()] == [(8, 4), (11, 4)]
    alone = DataConfig("faces", ("hair",), seed=5)
    assert parts_of(alone) == {"faces": alone}


def test_pixels_are_trained_on_without_conditions(tmp_path):
    data = 'kind = "mixture"\n[data.sets.animals]\nseed = 9\ncount = 3\n[data.sets.faces]\nseed = 5\ncount = 2'
    config = load_config(write_config(tmp_path / "pixels.toml", data=data, top="image_size = 32"))
    prepared = MixtureKind().prepare(config, tmp_path, tmp_path, None)
    assert (len(prepared.training), len(prepared.held_out)) == (5, 2 * config.report.held_out)
    images = [drawings_of(part, 32).draw(tmp_path)["images"] for part in parts_of(config.data).values()]
    assert np.array_equal(prepared.training.images.permute(0, 2, 3, 1).numpy(), np.concatenate(images))
    assert prepared.training.batch(None, 4, np.random.default_rng(0))[0].shape == (4, 3, 32, 32)


def test_chunks_are_all_of_the_pictures(tmp_path):
    drawings = drawings_of(DataConfig("animals", seed=9, count=3), 32)
    assert np.array_equal(np.concatenate([*drawings.chunks()]), drawings.load(tmp_path))

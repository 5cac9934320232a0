"""No picture of the repository's configurations serves two purposes."""

import inspect
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from mcdm_core.training.autoencoder.config import load_autoencoder_config
from mcdm_core.training.config import DataConfig, load_config, load_dual_encoder_config, read_toml
from mcdm_core.training.data.sources import HELD_OUT
from studies.baselines.config import load_gan_config
from studies.evaluation import animals, face_reader, features, mouth, reconstructions, whole_animals
from studies.evaluation.config import load_evaluation
from studies.evaluation.held_out import compared_seeds
from studies.training.sets import held_out_of, set_of

CONFIGS = Path(__file__).parents[3] / "studies" / "configs"
EVALUATIONS = sorted((CONFIGS / "evaluate").glob("*.toml"))
TRAININGS = sorted(set(CONFIGS.rglob("*.toml")) - set(EVALUATIONS))


class Seeds(NamedTuple):
    """Seeds from `first` up to, and without, `end`; `purpose` tells what is drawn from them."""

    first: int
    end: int
    purpose: str


def trained_on(path: Path) -> set[Seeds]:
    """What a training configuration draws, with what is held out behind; runs of one modality may share a set."""
    sections = read_toml(path)
    if "dual_encoder" in sections:
        encoder = load_dual_encoder_config(path)
        return {Seeds(encoder.seed, encoder.seed + encoder.count + HELD_OUT, "dual encoder")}
    if "prompts" in sections:
        return {
            Seeds(sections["prompts"]["seed"], sections["prompts"]["seed"] + sections["prompts"]["count"], "prompts")
        }
    load = {"gan": load_gan_config, "autoencoder": load_autoencoder_config}
    config = next((load[name] for name in load if name in sections), load_config)(path)
    sets = [set_of(config.data, name) for name in config.data.sets] or [config.data]
    return {_seeds(data, config.report.held_out) for data in sets}


def _seeds(data: DataConfig, held_out: int) -> Seeds:
    beside = held_out_of(data, held_out)
    return Seeds(data.seed, beside.seed + beside.count, f"training on {data.kind} and {data.modalities}")


def read_by(train, first: int, purpose: str) -> Seeds:
    """What a network of the measures is trained on; its training has a default `count`."""
    return Seeds(first, first + inspect.signature(train).parameters["count"].default, purpose)


NETWORKS = {
    read_by(mouth.train_mouth_reader, mouth.FIRST_SEED, "mouth reader"),
    read_by(animals.train_animal_reader, animals.FIRST_SEED, "animal reader"),
    read_by(whole_animals.train_whole_animal_reader, whole_animals.FIRST_SEED, "whole animal reader"),
    read_by(face_reader.train_face_reader, face_reader.FIRST_SEED, "face reader"),
    read_by(features.train_features, features.FIRST_FACE_SEED, "features of faces"),
    read_by(features.train_features, features.FIRST_SCENE_SEED, "features of scenes"),
}


def measured_on(path: Path) -> set[Seeds]:
    """What an evaluation draws: the held-out pictures, and those that the Fréchet distance is measured to."""
    data = load_evaluation(path).data
    compared = compared_seeds(data)
    return {
        Seeds(data.seed, data.seed + data.count, path.stem),
        Seeds(compared.start, compared.stop, f"distances of {path.stem}"),
    }


RECONSTRUCTED = {
    Seeds(first, first + reconstructions.COUNT, f"reconstructed {kind}")
    for kind, first in reconstructions.FIRST_SEEDS.items()
}


def overlap(one: Seeds, other: Seeds) -> bool:
    return one.first < other.end and other.first < one.end


def test_nothing_is_trained_on_twice_nor_measured_on_what_was_trained_on():
    trained = set().union(NETWORKS, *map(trained_on, TRAININGS))
    assert [pair for pair in combinations(sorted(trained), 2) if overlap(*pair)] == []
    measured = RECONSTRUCTED.union(*map(measured_on, EVALUATIONS))
    assert [(one, other) for one in sorted(trained) for other in sorted(measured) if overlap(one, other)] == []


def test_weights_are_chosen_on_pictures_of_their_own():
    """Trials of distillations are an exception: they share the pictures of product_lora.toml, which says so."""
    chosen = set().union(*(measured_on(path) for path in EVALUATIONS if path.stem.startswith("choose")))
    measured = set().union(*(measured_on(path) for path in EVALUATIONS if not path.stem.startswith("choose")))
    assert chosen
    assert [(one, other) for one in sorted(chosen) for other in sorted(measured) if overlap(one, other)] == []


@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: path.stem)
def test_distances_are_measured_to_other_pictures(path):
    assert not any(overlap(*pair) for pair in pairwise(sorted(measured_on(path))))


def test_all_configurations_are_looked_at():
    purposes = {seeds.purpose for path in TRAININGS for seeds in trained_on(path)}
    assert {"dual encoder", "training on faces and ('hair',)", "training on animals and ('class',)"} <= purposes
    assert {"gan", "joint", "start", "landscapes", "vae", "start256"} <= {path.stem for path in TRAININGS}

"""Errors of predictions under noise, without a sampler."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mcdm_core import ProductDenoiser, Term, load_expert
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.kinds import open_held_out
from studies.evaluation.predictions import SIGMAS, measure_predictions

NETWORKS = Path(__file__).parents[4] / "studies" / "networks" / "pixels"
SHIPPED = {name: NETWORKS / f"{name}.safetensors" for name in ("hair", "skin")}
HAIR, SKIN = TermConfig("hair", ("hair",), weight=1.5), TermConfig("skin", ("skin",), weight=2.0, reliability=3.0)
UNITED = Setting("united", (HAIR, SKIN))
MEASURES = [f"x0 error at σ = {sigma:g}" for sigma in SIGMAS]


@pytest.fixture(scope="module")
def faces():
    return open_held_out(DataConfig("faces", seed=23_000_000, count=3))


def test_they_are_those_of_the_library(faces):
    terms = []
    for term in UNITED.terms:
        expert = load_expert(SHIPPED[term.expert])
        condition = expert.encoder.encode_map(faces.map_of(term.expert, [0, 1]))
        terms.append(Term(expert, condition, condition.null(), weight=term.weight, reliability=term.reliability))
    pictures = torch.from_numpy(faces.images[:2]).permute(0, 3, 1, 2) / 127.5 - 1
    noise = torch.stack([torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(2)])
    measured = measure_predictions(UNITED, SHIPPED, faces, 2)
    assert [*measured] == MEASURES
    with torch.inference_mode():
        for sigma, errors in zip(SIGMAS, measured.values(), strict=True):
            difference = ProductDenoiser(terms)(pictures + sigma * noise, sigma) - pictures
            assert errors == pytest.approx(difference.pow(2).mean((1, 2, 3)).sqrt().numpy(), rel=1e-4)


@pytest.mark.parametrize(
    "setting", [replace(UNITED, rule="gan"), replace(UNITED, terms=(HAIR, replace(SKIN, shift=1)))]
)
def test_what_predicts_no_one_picture_has_none(faces, setting):
    assert measure_predictions(setting, SHIPPED, faces, 3) == {}

"""Masks: a face's maps act everywhere, one caption at the left and another at the right, softly blended."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mcdm_core.checkpoints import load_expert
from mcdm_core.cli.demo import WEIGHTS
from mcdm_core.expert.expert import Expert
from mcdm_core.pictures import map_to_picture
from mcdm_core.product.terms.term import Term

from .faces import map_term
from .runs import Cell, Run, at_most, drawn_grid

STEPS = 25
SEEDS = (0, 1, 2)
TILE = 192
LEFT, RIGHT = "a face with blonde hair, purple background", "a face with blue hair, white background"
WEIGHT = 12.0  # of a caption on its side: more than on a whole face, as the other half of the face contradicts it
RELIABILITY = 6.0  # more than the maps', which would else supply most of the common negative
SOFT = 0.25  # share of the width in which one side turns into the other
FRAME = (128, 128, 128)
COLUMNS = ("", "two maps,\nalone", "left caption,\nalone", "right caption,\nalone", "all at once,\nwith masks")
MAPS = "a hair map and a skin map"


def right_mask(height: int, width: int) -> Tensor:
    """0 at the left, 1 at the right and a line between, shape (height, width)."""
    across = (torch.arange(width) + 0.5) / width
    return ((across - 0.5) / SOFT + 0.5).clamp(0, 1).expand(height, width).clone()


def region_terms(experts: Mapping[str, Expert], face: int) -> list[Term]:
    """Hair and skin map of example face 0…3 everywhere, and a caption on each side.

    Args:
        experts: "hair", "skin" and "text".
        face: Whose maps they are.
    """
    text = experts["text"]
    right = right_mask(*text.sample_shape[1:])
    terms = [map_term(experts[name], face, WEIGHTS[name]) for name in ("hair", "skin")]
    for caption, mask in ((LEFT, 1 - right), (RIGHT, right)):
        condition = text.encoder.encode_text([caption])
        terms.append(Term(text, condition, condition.null(), weight=WEIGHT, reliability=RELIABILITY, mask=mask))
    return terms


def region_rows(experts: Mapping[str, Expert], seeds: Sequence[int], steps: int) -> list[list[Cell]]:
    """What is asked and where, then for each seed, and example face of this number, what comes of it.

    Args:
        experts: As in `region_terms`.
        seeds: 0…3.
        steps: DDIM steps.
    """
    right = right_mask(*experts["text"].sample_shape[1:])
    masks = [_framed(mask) for mask in (torch.ones_like(right), 1 - right, right)]
    rows: list[list[Cell]] = [["asked", MAPS, LEFT, RIGHT, ""], ["mask: white is where it acts", *masks, ""]]
    for seed in seeds:
        terms = region_terms(experts, seed)
        alone = [terms[:2], *([replace(caption, mask=None)] for caption in terms[2:])]
        rows.append([f"seed {seed}", *(Run(each, seed, steps) for each in (*alone, terms))])
    return rows


def draw_regions(most_steps: int) -> Image.Image:
    """The grid of `region_rows`; `most_steps` as in `at_most`."""
    experts = {name: load_expert(name) for name in WEIGHTS}
    return drawn_grid("regions", COLUMNS, region_rows(experts, SEEDS, at_most(STEPS, most_steps)), TILE)


def _framed(mask: Tensor) -> Image.Image:
    """A mask in the size of a cell, with a line around it: white would end nowhere on white paper."""
    picture = map_to_picture(mask[None]).resize((TILE, TILE), Image.Resampling.NEAREST)
    ImageDraw.Draw(picture).rectangle((0, 0, TILE - 1, TILE - 1), outline=FRAME)
    return picture

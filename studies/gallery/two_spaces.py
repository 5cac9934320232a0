"""Experts of two latent spaces: maps by experts on 64 × 64 pixels, captions by one on latents of 256 × 256."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from mcdm_core.checkpoints import load_expert
from mcdm_core.cli.demo import CAPTIONS, WEIGHTS
from mcdm_core.expert.expert import Expert

from ..data.faces import MAPS
from .faces import caption_term, face_map, map_term
from .runs import Cell, Run, at_most, drawn_grid

STEPS = 25
SEEDS = (0, 1, 2)
TILE = 192
PIXELS = Path(__file__).parents[1] / "networks" / "pixels"
MAPS_END = 0.8  # from there on the caption's expert finishes alone, and no VAE is asked
COLUMNS = (
    "hair map",
    "skin map",
    "caption",
    "maps alone,\n64 × 64 pixels",
    "caption alone,\n256 × 256, latents",
    "maps and caption,\nboth spaces",
)


def two_spaces_rows(experts: Mapping[str, Expert], seeds: Sequence[int], steps: int) -> list[list[Cell]]:
    """For each seed, and example face of this number, its conditions and what comes of them.

    Args:
        experts: "hair" and "skin" of one space and "text" of another.
        seeds: 0…3.
        steps: DDIM steps.
    """
    rows: list[list[Cell]] = []
    for seed in seeds:
        caption = caption_term(experts["text"], seed, WEIGHTS["text"])
        alone = [map_term(experts[name], seed, WEIGHTS[name]) for name in MAPS]
        beside = [map_term(experts[name], seed, WEIGHTS[name], MAPS_END) for name in MAPS]
        runs = [Run(terms, seed, steps) for terms in (alone, [caption], [caption, *beside])]
        rows.append([*(face_map(seed, name) for name in MAPS), CAPTIONS[seed], *runs])
    return rows


def draw_two_spaces(most_steps: int) -> Image.Image:
    """The grid of `two_spaces_rows`; `most_steps` as in `at_most`."""
    experts = {name: load_expert(PIXELS / f"{name}.safetensors") for name in MAPS} | {"text": load_expert("text")}
    return drawn_grid("two spaces", COLUMNS, two_spaces_rows(experts, SEEDS, at_most(STEPS, most_steps)), TILE)

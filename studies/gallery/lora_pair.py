"""Two LoRAs of one checkpoint in one model and as a product, by the settings of the table "bleeding"."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ..evaluation.color_pairs import ColorPairs
from ..evaluation.config import EvaluationConfig, load_evaluation
from ..evaluation.drawing import RULES, terms_of
from ..evaluation.sheet import setting_named
from .runs import Cell, Run, drawn_grid

TABLE = Path(__file__).parents[1] / "configs" / "evaluate" / "bleeding.toml"
PICTURES = range(4)  # the first ones of the table; picture i starts from the seed i
TILE = 192
SETTINGS = (
    "hair's LoRA alone",
    "background's LoRA alone",
    "both LoRAs in one network",
    "base null: product",
    "own nulls: Composite",
)
"""Those of the table, each a column beside what was asked."""
COLUMNS = (
    "asked of\nhair's LoRA",
    "asked of the\nbackground's LoRA",
    "hair's LoRA\nalone",
    "background's LoRA\nalone",
    "both loaded into\none model",
    "product, negative of\nthe base model",
    "product, own\nnegatives",
)


def lora_pair_rows(config: EvaluationConfig, pictures: Sequence[int]) -> list[list[Cell]]:
    """For each of the table's pictures both captions, each LoRA alone, both in one model and both products.

    Args:
        config: The table's.
        pictures: Indices of its pictures.
    """
    held_out = ColorPairs(config.data)
    rows: list[list[Cell]] = []
    for index in pictures:
        captions = held_out[index].captions
        runs = [_run(config, held_out, index, name) for name in SETTINGS]
        rows.append([captions["hair_color"], captions["background"], *runs])
    return rows


def draw_lora_pair(most_steps: int) -> Image.Image:
    """The grid of `lora_pair_rows`; `most_steps` as in `load_evaluation`."""
    config = load_evaluation(TABLE, steps=most_steps)
    return drawn_grid("LoRAs", COLUMNS, lora_pair_rows(config, PICTURES), TILE)


def _run(config: EvaluationConfig, held_out: ColorPairs, index: int, name: str) -> Run:
    setting = replace(setting_named(config, name), autocast=False)  # so that a picture is the same on any processor
    terms = terms_of(setting, config.files, held_out, range(index, index + 1))
    return Run(terms, index, setting.steps, setting.eta, RULES[setting.rule])

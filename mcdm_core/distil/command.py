"""One distillation, from its configuration to the LoRA's file."""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints import load_expert
from ..checkpoints.lora import save_lora, with_lora
from ..conditions.reading.maps import read_gray
from ..conditions.request import ConditionRequest, encode_request
from ..expert.condition import Condition, cat
from ..expert.expert import Expert
from ..networks import text_tower
from ..pictures.files import load_picture
from ..product.methods.passes import Passes
from ..product.terms.term import Term
from ..system.shipped import expert_path
from ..training.loop.run_folder import run_folder
from .recipe import RULES, STUDENT, Draw, ExpertEntry, Recipe, load_recipe
from .run import distil_product


def distil(
    config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False, draw: Draw | None = None
) -> Path:
    """Distil what a configuration describes, and write the LoRA.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.
        resume: None to begin; "state" to continue where the run stopped, or to begin where there is no state.
        overwrite: Whether a new run may replace files of an earlier one of its name.
        draw: Draws prompts, see `load_recipe`.

    Returns:
        The LoRA's file.

    Raises:
        ValueError: The configuration is wrong, `resume` names a file, or there are files of an earlier run and neither
            `resume` nor `overwrite` was given.
        FileNotFoundError: There is no expert or LoRA of a name.
        ForeseenError: The loss diverged, or another run uses the folder.
        WriteError: A file could not be written; its former content is unchanged.
    """
    recipe = load_recipe(config_path, draw)
    if resume not in (None, "state"):
        raise ValueError(f"A distillation goes on from its own state and not from {resume}; give --resume alone.")
    with run_folder(runs, recipe.config.name, resume, overwrite) as run:
        terms, student, conditions = product_of(recipe)
        network = distil_product(
            terms,
            student,
            conditions,
            run.path,
            recipe.config,
            rule=RULES[recipe.rule],
            settings=(recipe.passes,),
            null=_null_of(student, conditions) if recipe.config.weight != 1 else None,
            unseen=[index for index, prompt in enumerate(recipe.prompts) if prompt.unseen],
            resume=run.resumed,
        )
        save_lora(run.written, network, _card(recipe), recipe.half)
    return run.written


def product_of(recipe: Recipe, load: Callable[[Path], Expert] = load_expert) -> tuple[list[Term], Expert, Condition]:
    """The product that a configuration describes.

    Args:
        recipe: The configuration.
        load: Loads an expert's file; it is called once for each.

    Returns:
        Its terms, the student, and the student's condition; row p of every condition belongs to prompt p.

    Raises:
        ValueError: An expert cannot read a prompt, or a file is none of its kind.
        FileNotFoundError: There is no expert or LoRA of a name.
    """
    loaded = functools.cache(lambda given: load(_file_of(given, recipe.folder)))
    student = loaded(recipe.student)
    given = [prompt.conditions.get(STUDENT, ConditionRequest()) for prompt in recipe.prompts]
    with _each_line_once(text_tower.logger):
        terms = [_term(each, loaded(each.expert), recipe) for each in recipe.experts]
        return terms, student, _encoded(student, given) or Condition()


@contextmanager
def _each_line_once(logger: logging.Logger) -> Iterator[None]:
    """While it lasts, a logger says nothing twice: hundreds of prompts may share a word that an expert doesn't know."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        line = record.getMessage()
        is_said = line in said
        said.add(line)
        return not is_said

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


def _null_of(student: Expert, conditions: Condition) -> Condition:
    return student.encoder.null_like(conditions.take(torch.zeros(1, dtype=torch.int64)))


def _file_of(given: str, folder: Path) -> Path:
    """The expert's file, relative to the configuration's folder; or that of one that ships, by its name alone."""
    file = folder / given
    return file if file.is_file() or Path(given).suffix else expert_path(given)


def _term(entry: ExpertEntry, expert: Expert, recipe: Recipe) -> Term:
    if entry.lora:
        expert = with_lora(expert, recipe.folder / entry.lora, entry.strength)
    given = [prompt.conditions.get(entry.name, ConditionRequest()) for prompt in recipe.prompts]
    condition = _encoded(expert, given)
    null = expert.encoder.null(1) if condition is None else expert.encoder.null_like(condition)
    mask = _mask(recipe.folder / entry.mask, entry, expert) if entry.mask else None
    return Term(expert, condition, null, mask=mask, **entry.numbers)


def _encoded(expert: Expert, requests: Sequence[ConditionRequest]) -> Condition | None:
    """The conditions of all prompts, a row each; None where nothing is given."""
    encoded = [encode_request(expert.encoder, request, expert.name) for request in requests]
    given = [condition for condition in encoded if condition is not None]
    if given and len(given) < len(encoded):
        raise ValueError(
            f"Expected a condition for {expert.name} in each of the prompts, or in none, and {len(given)} of "
            f"{len(encoded)} have one; add the others."
        )
    return cat(given) if given else None


def _mask(path: Path, entry: ExpertEntry, expert: Expert) -> Tensor:
    """Mask of samples, (1, h, w), 0…1."""
    gray = read_gray(load_picture(path, "black"), f"{entry.name} mask")
    return F.adaptive_avg_pool2d(gray, expert.sample_shape[1:])[:, 0]


def _card(recipe: Recipe) -> dict[str, object]:
    """The LoRA's description: what it stands for, which no weights tell."""
    return {
        **recipe.card,
        "steps": recipe.config.optimizer.steps,
        "seed": recipe.config.optimizer.seed,
        "start": Path(recipe.student).stem,
        "weight": recipe.config.weight,
        "data": f"a product of {len(recipe.experts)} experts ({recipe.rule}), {len(recipe.prompts)} prompts",
        "experts": [*map(_said_of, recipe.experts)],
        **({"passes": repr(recipe.passes)} if recipe.passes != Passes() else {}),
    }


def _said_of(entry: ExpertEntry) -> str:
    """The expert, its weight, and what else it has beyond the defaults."""
    own = {each.name: getattr(entry, each.name) for each in fields(entry)} | {"mask": Path(entry.mask).name}
    plain = ExpertEntry(entry.name, entry.expert, entry.lora, weight=entry.weight)
    more = [f"{name} {value}" for name, value in own.items() if value != getattr(plain, name)]
    lora = f" with {Path(entry.lora).stem}" if entry.lora else ""
    return ", ".join([f"{Path(entry.expert).stem}{lora}", f"weight {entry.weight:g}", *more])

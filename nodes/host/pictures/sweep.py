"""A grid of runs of one product, at many reliabilities, guidance weights and seeds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import latent_preview
from PIL import Image
from torch import Tensor

from ....mcdm_core.pictures.files import write_picture
from ....mcdm_core.sampling.sweep import Cell, Sweep, Swept, sweep_grid
from ..chain.expert_chain import Experts, WiredTerm
from ..chain.titles import shown_names
from ..comfyui.latents import concatenate, with_samples
from ..comfyui.page import refusals_at_experts
from ..run.guider import ProductGuider
from ..run.ksampler import Widgets, prepare, sample, warn_of_sampler
from .grid_tiles import TILE, check_vae, decode_tiles, tiles_of, to_image

logger = logging.getLogger(__name__)


def sample_sweep(
    experts: Experts,
    sweep: Sweep,
    widgets: Widgets,
    latent: dict[str, Any],
    vae: Any,
    reference: Tensor | None = None,
) -> tuple[dict[str, Any], Tensor]:
    """Sample every cell as Product-of-Experts KSampler does, and draw the grid.

    If the user cancels, the finished cells are drawn into a PNG file in ComfyUI's output folder.

    Args:
        experts: The chain.
        sweep: The grid.
        widgets: How to sample each cell.
        latent: ComfyUI's LATENT from which each cell starts, with its noise mask and batch indices, if any.
        vae: VAE of the latents.
        reference: IMAGE to show above the grids: each gets its picture of the same index, or else the last.

    Returns:
        The LATENT of all cells, row by row, the pictures of a cell one after the other; and an IMAGE with a grid for
        each picture of the batch.

    Raises:
        ValueError: If some cell's experts cannot be combined, or the VAE doesn't fit; before any network is called.
    """
    check_vae(experts[0], vae, latent["samples"])
    references = [] if reference is None else tiles_of(reference)
    guider, cells = ProductGuider(sweep.as_swept(experts)), sweep.cells()  # of all cells, so that MODELs stay loaded
    swept = guider.experts  # the guider may have put some on clones
    _check_cells(guider, sweep, widgets, latent)
    warn_of_sampler(experts, widgets)
    finished: dict[Cell, Tensor] = {}
    try:
        report = latent_preview.prepare_callback(guider.model_patcher, len(cells) * widgets.steps)
        for index, cell in enumerate(cells):
            comfy.model_management.throw_exception_if_processing_interrupted()
            guider.experts = sweep.at(swept, cell)
            callback = partial(_report_in_grid, report, index, len(cells))
            finished[cell] = sample(guider, cell.seed, widgets, latent, callback)["samples"]
    except comfy.model_management.InterruptProcessingException:
        if finished:  # a second cancel stops the decoding
            _save(_grids(experts, sweep, finished, vae, references), len(finished), len(cells))
        raise
    # The batch indices are those of one cell.
    kept = {name: value for name, value in latent.items() if name != "batch_index"}
    stacked = concatenate([finished[cell] for cell in cells])
    return with_samples(kept, stacked), to_image(_grids(experts, sweep, finished, vae, references))


def _check_cells(guider: ProductGuider, sweep: Sweep, widgets: Widgets, latent: dict[str, Any]) -> None:
    """Refuse a sweep with a cell that could not be sampled; leaves the guider with the experts of one."""
    swept = guider.experts
    sweep.check(swept)
    noise, _, ksampler = prepare(guider, sweep.seeds[0], widgets, latent)

    def check(experts: Sequence[WiredTerm]) -> None:
        guider.experts = tuple(experts)
        guider.check_run(noise, ksampler.sigmas)

    if len(ksampler.sigmas) > 0:
        with refusals_at_experts(guider.node_of):
            sweep.check_cells(swept, check)


def _report_in_grid(
    report: Callable[..., None], index: int, cells: int, step: int, x0: Tensor, x: Tensor, steps: int
) -> None:
    """ComfyUI's callback for one cell of the index, with its steps counted over the whole grid."""
    # A few samplers take more steps than they announce.
    report(index * steps + min(step, steps - 1), x0, x, cells * steps)


def _grids(
    experts: Experts, sweep: Sweep, finished: dict[Cell, Tensor], vae: Any, references: Sequence[Image.Image]
) -> list[Image.Image]:
    tiles = {cell: decode_tiles(latents, vae) for cell, latents in finished.items()}
    chosen, title = experts[sweep.expert], shown_names(experts)[sweep.expert]
    swept = Swept(title, chosen.name if title == chosen.label else title, has_others=len(experts) > 1)
    batch = len(next(iter(tiles.values())))
    above = islice(chain(references, repeat(references[-1] if references else None)), batch)
    return [
        sweep_grid(sweep, swept, {cell: of[i] for cell, of in tiles.items()}, TILE, reference)
        for i, reference in enumerate(above)
    ]


def _save(grids: list[Image.Image], done: int, total: int) -> None:
    output = folder_paths.get_output_directory()
    folder, name, counter, *_ = folder_paths.get_save_image_path("MCDM_sweep", output)
    for number, grid in enumerate(grids, start=counter):
        path = Path(folder) / f"{name}_{number:05}_.png"
        write_picture(path, grid)
        logger.warning("Cancelled after %d of %d cells; %s has them.", done, total, path)

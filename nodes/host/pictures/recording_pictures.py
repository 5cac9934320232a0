"""The pictures of a recorded run, as ComfyUI IMAGEs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ....mcdm_core.pictures import labelled_grid
from ....mcdm_core.pictures.plots import Panel, plot_lines
from ..chain.expert_chain import ExpertInput, Experts
from ..comfyui.latents import parts_of
from .grid_tiles import TILE, decode_tiles, tiles_of, to_image
from .recording import Recording, StepRecord

Tile = Image.Image | str
NO_GUIDANCE = "No guidance to measure: the weights sum to 1, so that U is not needed, or are 0."
NO_PAIR = "No two experts had guidance at the same step."


def prediction_grids(experts: Experts, recording: Recording, vae: Any) -> Tensor:
    """A labelled grid for each picture of the batch: a row per expert, one for U and one for the product; steps across.

    If a method shared the weights out, there is another row per expert with its share, from black, none, to white, all.

    Args:
        experts: The chain.
        recording: The run.
        vae: VAE of the reference's latents; the middle frame of a video, the first part of a nested latent are shown.

    Returns:
        IMAGE, shape (B, H, W, 3), values 0…1.
    """
    shown = recording.shown()
    titles = [f"{experts[i].label}, w={expert.weight:g}" for i, expert in enumerate(experts)]
    rows = [[step.cond[i] for step in shown] for i in range(len(experts))]
    absences = [_why_missing(expert) for expert in experts]
    if any(step.uncond is not None for step in shown):
        titles.append("unconditional estimate U")
        rows.append([step.uncond for step in shown])
        absences.append("not needed")
    titles.append("product")
    rows.append([step.product for step in shown])
    absences.append("")

    batch = len(shown[0].product)
    process = experts[0].model.model.process_latent_out
    grids: list[list[list[Tile]]] = [[[title] for title in titles] for _ in range(batch)]
    for place, (row, absence) in enumerate(zip(rows, absences, strict=True)):
        for latents in row:
            tiles: Sequence[Tile] = [absence] * batch
            if latents is not None:
                tiles = decode_tiles(parts_of(process(latents), recording.shapes)[0], vae)
            for grid, tile in zip(grids, tiles, strict=True):
                grid[place].append(tile)
    for i in sorted({i for step in shown for i in step.shares}):
        for grid, tiled in zip(grids, _share_rows(shown, i, batch), strict=True):
            grid.append([f"{experts[i].label}, share of the weights", *tiled])
    columns = ["", *(_title(step) for step in shown)]
    return to_image([labelled_grid(columns, grid, TILE) for grid in grids])


def guidance_plots(experts: Experts, recording: Recording) -> Tensor:
    """A plot for each picture of the batch: norms of the experts' guidance, and cosines between them, over the steps.

    If the run may leave out passes, also the network rows asked; if the batch was a set of particles, also their
    effective number, in all plots the same.

    Args:
        experts: The chain.
        recording: The run.

    Returns:
        IMAGE, shape (B, H, W, 3), values 0…1.
    """
    steps = sorted(recording.guidance)
    norms = torch.stack([recording.guidance[step].norms for step in steps], dim=-1)
    cosines = torch.stack([recording.guidance[step].cosines for step in steps], dim=-1)
    plots = []
    for norm, cosine in zip(norms, cosines, strict=True):
        lines = {experts[i].label: norm[i].tolist() for i in range(len(experts))}
        panels = [Panel("Guidance ‖w (D − U)‖/√n: root mean square change of x0", lines, placeholder=NO_GUIDANCE)]
        pairs = {f"experts {i + 1} and {j + 1}": cosine[i, j].tolist() for i, j in combinations(range(len(experts)), 2)}
        if pairs:
            title = "Agreement: cosine of two experts' guidance"
            panels.append(Panel(title, pairs, limits=(-1.0, 1.0), placeholder=NO_PAIR))
        if saved := _saved_rows(recording, steps):
            panels.append(saved)
        if recording.particles:
            line = {"effective number": [recording.particles[step] for step in steps]}
            panels.append(Panel("Particles that count; resampling makes them all", line, limits=(0.0, len(norms))))
        plots.append(plot_lines(panels, steps))
    return to_image(plots)


def _share_rows(shown: Sequence[StepRecord], index: int, batch: int) -> list[list[Tile]]:
    """For each picture of the batch, maps of an expert's share of the weights at the steps."""
    rows: list[list[Tile]] = [[] for _ in range(batch)]
    for step in shown:
        tiles: Sequence[Tile] = ["weights as given"] * batch
        if index in step.shares:
            share = step.shares[index]
            middle = share if share.ndim == 4 else share[:, :, share.shape[2] // 2]  # of a video
            tiles = tiles_of(middle.movedim(1, -1).expand(-1, -1, -1, 3))
        for row, tile in zip(rows, tiles, strict=True):
            row.append(tile)
    return rows


def _saved_rows(recording: Recording, steps: Sequence[int]) -> Panel | None:
    """The network rows asked for the whole batch, beside those that the plain product would take."""
    asked, plain = ([recording.rows[step][place] for step in steps] for place in (0, 1))
    if not any(plain):
        return None
    share = 1 - sum(asked) / sum(plain)
    return Panel(f"Rows that networks were asked: {share:.0%} were saved", {"asked": asked, "plain product": plain})


def _title(step: StepRecord) -> str:
    digits = ".3g" if step.sigma < 1000 else ".0f"
    return f"step {step.step}\nσ = {step.sigma:{digits}}"


def _why_missing(expert: ExpertInput) -> str:
    return "not asked: weight 0" if expert.weight == 0 else "not asked at this step"

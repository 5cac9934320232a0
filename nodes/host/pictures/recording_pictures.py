"""The pictures of a recorded run, as ComfyUI IMAGEs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image
from torch import Tensor

from ....mcdm_core.pictures import labelled_grid
from ....mcdm_core.pictures.plots import Panel, plot_lines
from ..chain.expert_chain import ExpertInput, Experts
from ..comfyui.latents import parts_of
from ..spaces.run_spaces import space_indices
from .grid_tiles import TILE, decode_tiles, to_image
from .recording import Recording, StepRecord
from .shown_names import shown_names

Tile = Image.Image | str
NO_GUIDANCE = "No guidance to measure: the weights sum to 1, so that no negative is needed, or are 0."
NO_PAIR = "No two experts had guidance at the same step."
NO_COMMON_SPACE = "Not measured: the experts work on different latent spaces."

Coder = tuple[Callable[[Tensor], Tensor], Any]
"""From predictions of a MODEL to latents of its VAE, and the VAE."""


class _Row(NamedTuple):
    """A row of a grid: predictions at the shown steps.

    Attributes:
        title: Its label.
        predictions: Shape (B, C, …) each; None where there is none.
        coder: Makes pictures of them.
        absence: What stands in the place of a missing picture.
    """

    title: str
    predictions: Sequence[Tensor | None]
    coder: Coder
    absence: str


def prediction_grids(experts: Experts, recording: Recording, vae: Any) -> Tensor:
    """A labelled grid for each picture of the batch: a row per expert, one for U and one for the product; steps across.

    Args:
        experts: The chain.
        recording: The run.
        vae: VAE of the reference's latents; the middle frame of a video, the first part of a nested latent are shown.
            Predictions of other latent spaces are decoded by the VAEs of their experts.

    Returns:
        IMAGE, shape (B, H, W, 3), values 0…1.
    """
    shown = recording.shown()
    coders = _coders(experts, vae)
    rows = [
        _Row(f"{name}, weight {expert.weight:g}", [step.cond[i] for step in shown], coders[i], _why_missing(expert))
        for i, (name, expert) in enumerate(zip(shown_names(experts), experts, strict=True))
    ]
    if any(step.uncond is not None for step in shown):
        rows.append(_Row("without prompts (U)", [step.uncond for step in shown], coders[0], "not needed"))
    rows.append(_Row("product", [step.product for step in shown], coders[0], ""))

    batch = len(shown[0].product)
    grids: list[list[list[Tile]]] = [[[row.title] for row in rows] for _ in range(batch)]
    for index, row in enumerate(rows):
        for latents in row.predictions:
            tiles: Sequence[Tile] = [row.absence] * batch
            if latents is not None:
                process, own_vae = row.coder
                tiles = decode_tiles(parts_of(process(latents), recording.shapes)[0], own_vae)
            for grid, tile in zip(grids, tiles, strict=True):
                grid[index].append(tile)
    columns = ["", *(_title(step) for step in shown)]
    return to_image([labelled_grid(columns, grid, TILE) for grid in grids])


def guidance_plots(experts: Experts, recording: Recording) -> Tensor:
    """A plot for each picture of the batch: norms of the experts' guidance, and cosines between them, over the steps.

    The line of a pair is dashed in the colours of its two experts. If the run may leave out passes, also the network
    rows asked.

    Args:
        experts: The chain.
        recording: The run.

    Returns:
        IMAGE, shape (B, H, W, 3), values 0…1.
    """
    steps = sorted(recording.guidance)
    norms = torch.stack([recording.guidance[step].norms for step in steps], dim=-1)
    cosines = torch.stack([recording.guidance[step].cosines for step in steps], dim=-1)
    nothing, no_pair = (NO_COMMON_SPACE,) * 2 if max(space_indices(experts)) > 0 else (NO_GUIDANCE, NO_PAIR)
    names, plots = shown_names(experts), []
    for norm, cosine in zip(norms, cosines, strict=True):
        lines = {name: pulls.tolist() for name, pulls in zip(names, norm, strict=True)}
        panels = [
            Panel("How hard each expert pulls: root mean square change of the picture", lines, placeholder=nothing)
        ]
        if pairs := _pairs(names):
            title = "Agreement: above 0 they agree, below 0 they conflict"
            agreed = {label: cosine[pair].tolist() for label, pair in pairs.items()}
            shared = {label: [names[i] for i in pair] for label, pair in pairs.items()}
            panels.append(Panel(title, agreed, limits=(-1.0, 1.0), placeholder=no_pair, shared=shared))
        if saved := _saved_rows(recording, steps):
            panels.append(saved)
        plots.append(plot_lines(panels, steps))
    return to_image(plots)


def _pairs(names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The pairs of experts, by what the plot calls them."""
    return {f"{names[i]} and {names[j]}": (i, j) for i, j in combinations(range(len(names)), 2)}


def _coders(experts: Experts, vae: Any) -> list[Coder]:
    """For each expert what decodes its predictions."""
    members = [*zip(space_indices(experts), experts, strict=True)]
    vaes = {space: expert.vae for space, expert in reversed(members) if expert.vae}
    vaes[0] = vae
    return [(partial(_latents_of, expert.model), vaes[space]) for space, expert in members]


def _latents_of(model: ModelPatcher, x0: Tensor) -> Tensor:
    """Predictions of a MODEL as latents of its VAE; across latent spaces a video of one frame was made a picture."""
    is_picture = x0.ndim == model.get_model_object("latent_format").latent_dimensions + 1
    latents: Tensor = model.model.process_latent_out(x0.unsqueeze(2) if is_picture else x0)
    return latents


def _saved_rows(recording: Recording, steps: Sequence[int]) -> Panel | None:
    """The network rows asked for the whole batch, beside those that the plain product would take."""
    asked, plain = ([recording.rows[step][kind] for step in steps] for kind in (0, 1))
    if not any(plain):
        return None
    share = 1 - sum(asked) / sum(plain)
    return Panel(f"Rows that networks were asked: {share:.0%} were saved", {"asked": asked, "plain product": plain})


def _title(step: StepRecord) -> str:
    digits = ".3g" if step.sigma < 1000 else ".0f"
    return f"step {step.step}\nσ = {step.sigma:{digits}}"


def _why_missing(expert: ExpertInput) -> str:
    return "not asked: weight 0" if expert.weight == 0 else "not asked at this step"

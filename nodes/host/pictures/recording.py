"""A run of a product that is recorded, and its pictures as ComfyUI IMAGEs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from PIL import Image
from torch import Tensor

from ....mcdm_core.pictures import labelled_grid
from ....mcdm_core.pictures.plots import Panel, plot_lines
from ....mcdm_core.product.evaluation.inspection import Recording, StepRecord, shown_steps
from ..chain.expert_chain import Experts
from ..chain.titles import shown_names
from ..comfyui.latents import fit_empty, pack, pack_mask, parts_of, with_samples
from ..run.guider import ProductGuider
from ..spaces.run_spaces import space_indices, vaes_of
from .grid_tiles import TILE, decode_tiles, to_image

Tile = Image.Image | str
NO_GUIDANCE = "No guidance to measure: the weights sum to 1, so that no negative is needed, or are 0."
NO_PAIR = "No two experts had guidance at the same step."
NO_COMMON_SPACE = "Not measured: the experts work on different latent spaces."

Coder = tuple[Callable[[Tensor], Tensor], Any]
"""From predictions of a MODEL to latents of its VAE, and the VAE."""


def sample_recorded(
    experts: Experts, noise: Any, sampler: Any, sigmas: Tensor, latent: dict[str, Any], shown: str
) -> tuple[dict[str, Any], Recording]:
    """Sample as SamplerCustomAdvanced does with the product's guider, and record it.

    Args:
        experts: The chain.
        noise: ComfyUI's NOISE.
        sampler: ComfyUI's SAMPLER.
        sigmas: Descending noise levels, shape (S + 1,).
        latent: ComfyUI's LATENT, with its noise mask if there is one.
        shown: Which steps to show, see `shown_steps`.

    Returns:
        The LATENT with new samples, and the recording.

    Raises:
        ValueError: If the experts cannot be combined or the steps cannot be shown, before any network is called; or if
            the sampler reports no step.
    """
    patcher = experts[0].model
    total = len(sigmas) - 1
    if total < 1:
        raise ValueError("Expected sigmas with at least one step to inspect and got none; raise denoise.")
    latent_image = fit_empty(patcher, latent)
    latent = {**latent, "samples": latent_image}
    given_mask = latent.get("noise_mask")
    noise_mask = None if given_mask is None else pack_mask(given_mask, _shapes(latent), torch.device("cpu"))
    recording = Recording(shown_steps(shown, total), total, noise_mask)
    preview = latent_preview.prepare_callback(patcher, total)

    def report(step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
        recording.finish_step(step + 1, lambda: pack(parts_of(x0)))
        preview(step, x0, x, total_steps)

    guider = ProductGuider(experts, recording.observe)
    result = guider.sample(
        noise.generate_noise(latent),
        latent_image,
        sampler,
        sigmas,
        denoise_mask=given_mask,
        callback=report,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=noise.seed,
    )
    if not recording.guidance:
        raise ValueError(
            "Expected a sampler that reports its steps, as all of ComfyUI's do, and got one that doesn't; choose "
            "another."
        )
    return with_samples(latent, result), recording


def prediction_grids(experts: Experts, recording: Recording, latent: dict[str, Any], vae: Any) -> Tensor:
    """A labelled grid for each picture of the batch: a row per expert, one for U and one for the product; steps across.

    Args:
        experts: The chain.
        recording: The run.
        latent: The LATENT that it made.
        vae: VAE of the reference's latents; the middle frame of a video, the first part of a nested latent are shown.
            Predictions of other latent spaces are decoded by the VAEs of their experts.

    Returns:
        IMAGE, shape (B, H, W, 3), values 0…1.
    """
    shown = recording.shown()
    batch, coders, shapes = len(shown[0].denoised), _coders(experts, vae), _shapes(latent)

    def row(title: str, predictions: Sequence[Tensor | None], coder: Coder, absence: str = "") -> list[list[Tile]]:
        """A row of the grid of each picture of the batch; the absence is what stands in the place of a prediction."""
        columns: list[Sequence[Tile]] = [[title] * batch]
        for latents in predictions:
            process, own_vae = coder
            made = None if latents is None else parts_of(process(latents), shapes)[0]
            columns.append([absence] * batch if made is None else decode_tiles(made, own_vae))
        return [list(tiles) for tiles in zip(*columns, strict=True)]

    rows = []
    for i, (name, expert) in enumerate(zip(shown_names(experts), experts, strict=True)):
        absence = "not asked: weight 0" if expert.weight == 0 else "not asked at this step"
        rows.append(row(f"{name}, weight {expert.weight:g}", [step.cond[i] for step in shown], coders[i], absence))
    if any(step.uncond is not None for step in shown):
        rows.append(row("without prompts (U)", [step.uncond for step in shown], coders[0], "not needed"))
    rows.append(row("product", [step.denoised for step in shown], coders[0]))
    steps = ["", *(_title(step) for step in shown)]
    return to_image([labelled_grid(steps, grid, TILE) for grid in zip(*rows, strict=True)])


def _shapes(latent: dict[str, Any]) -> list[torch.Size]:
    """Shapes of the parts of a LATENT; most have one."""
    return [part.shape for part in parts_of(latent["samples"])]


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
    expert_pairs = {f"{names[i]} and {names[j]}": (i, j) for i, j in combinations(range(len(names)), 2)}
    for norm, cosine in zip(norms, cosines, strict=True):
        lines = {name: pulls.tolist() for name, pulls in zip(names, norm, strict=True)}
        title = "How hard each expert pulls: root mean square change of the picture"
        panels = [Panel(title, lines, placeholder=nothing)]
        if expert_pairs:
            title = "Agreement: above 0 they agree, below 0 they conflict"
            agreed = {label: cosine[pair].tolist() for label, pair in expert_pairs.items()}
            shared = {label: [names[i] for i in pair] for label, pair in expert_pairs.items()}
            panels.append(Panel(title, agreed, limits=(-1.0, 1.0), placeholder=no_pair, shared=shared))
        if saved := _saved_rows(recording, steps):
            panels.append(saved)
        plots.append(plot_lines(panels, steps))
    return to_image(plots)


def _coders(experts: Experts, vae: Any) -> list[Coder]:
    """For each expert what decodes its predictions."""
    indices = space_indices(experts)
    vaes = vaes_of(indices, experts) | {0: vae}
    return [(partial(_latents_of, expert.model), vaes[space]) for space, expert in zip(indices, experts, strict=True)]


def _latents_of(patcher: ModelPatcher, x0: Tensor) -> Tensor:
    """Predictions of a MODEL as latents of its VAE; across latent spaces a video of one frame was made a picture."""
    is_picture = x0.ndim == patcher.get_model_object("latent_format").latent_dimensions + 1
    latents: Tensor = patcher.model.process_latent_out(x0.unsqueeze(2) if is_picture else x0)
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

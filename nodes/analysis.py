"""Nodes that show single experts' predictions and guidance, draw grids over weights, and choose among samples."""

from typing import Any

import comfy.samplers
import comfy.sd
import torch
from comfy_api.latest import io

from ..mcdm_core.product.evaluation.inspection import parse_shown_steps
from ..mcdm_core.sampling.sweep import MOST_ACROSS, Varied
from ..mcdm_core.sampling.sweep_texts import read_sweep
from .host.chain import node_ids
from .host.chain.expert_chain import Experts
from .host.pictures.choose import choose_samples
from .host.pictures.grid_tiles import check_vae
from .host.pictures.recording import guidance_plots, prediction_grids, sample_recorded
from .host.pictures.sweep import sample_sweep
from .host.prompt.chain_checks import check_chain, check_sweep
from .host.prompt.faults import check_value
from .host.prompt.sampler_checks import check_choose_node
from .host.prompt.validation import Validation
from .host.run.ksampler import Widgets
from .widgets import ExpertChain, aliases, sampling_inputs, seed_input


class Inspect(io.ComfyNode):
    """Samples a chain, and shows what each expert does."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.INSPECT,
            display_name="Inspect Product",
            category="mcdm/analysis",
            search_aliases=aliases(
                "debug, visualize, compare models, prompt ignored, which model pulls, x0 preview, agreement, plot"
            ),
            description=(
                "Samples, and shows at chosen steps each expert's idea of the finished picture beside the "
                "product's, how hard each expert pulls, and how far they agree: the summands w_i (D_i − U) of the "
                "paper's Eq. 10. The sample is SamplerCustomAdvanced's with Product Guider."
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain of Diffusion Expert nodes."),
                io.Noise.Input("noise", tooltip="The start noise, from RandomNoise."),
                io.Sampler.Input("sampler", tooltip="How noise is removed; any SAMPLER."),
                io.Sigmas.Input("sigmas", tooltip="Noise levels, made for the first expert of the chain."),
                io.Latent.Input(
                    "latent_image",
                    tooltip="What to start from: Empty Latent (Expert) for this pack's experts, Empty Latent Image for "
                    "checkpoints, or an encoded picture. A noise mask is respected; where it keeps the picture, "
                    "guidance isn't measured.",
                ),
                io.Vae.Input("vae", tooltip="Turns predictions into pictures: the VAE of the first expert."),
                io.String.Input(
                    "steps_shown",
                    default="5",
                    tooltip='Steps to show as pictures. "5": so many, evenly from the first to the last. "1, 5, 10, '
                    'last": these, counted from 1. "5,": only this one. At most 50 of them. The plot shows every step.',
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The sampled latent, SamplerCustomAdvanced's."),
                io.Image.Output(
                    display_name="predictions",
                    tooltip="A grid for each picture of the batch: a row for what each expert takes the finished "
                    "picture to be, one for the look without prompts (U), one for the product; steps across.",
                ),
                io.Image.Output(
                    display_name="plot",
                    tooltip="A plot for each picture of the batch over the steps: how hard each expert pulls, as root "
                    "mean square change of the picture, and how far each two agree. Above 0 they agree, below 0 they "
                    "conflict.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(
        Validation("experts", lambda node: check_value(node, "steps_shown", parse_shown_steps) or check_chain(node))
    )

    @classmethod
    def execute(
        cls,
        experts: Experts,
        noise: Any,
        sampler: comfy.samplers.Sampler,
        sigmas: torch.Tensor,
        latent_image: dict,
        vae: comfy.sd.VAE,
        steps_shown: str,
    ) -> io.NodeOutput:
        """Sample and draw."""
        check_vae(experts[0], vae, latent_image["samples"])
        latent, recording = sample_recorded(experts, noise, sampler, sigmas, latent_image, steps_shown)
        grids = prediction_grids(experts, recording, latent, vae)
        return io.NodeOutput(latent, grids, guidance_plots(experts, recording))


class ReliabilitySweep(io.ComfyNode):
    """Samples a chain into a grid over reliabilities, weights and seeds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_ReliabilitySweep",
            display_name="Reliability Sweep",
            category="mcdm/analysis",
            search_aliases=aliases(
                "xy plot, grid, compare, compare weights, which weight, weight grid, parameter sweep, interpolation, "
                "blend"
            ),
            description=(
                "Samples one product many times into a labelled grid, an XY plot: one expert's reliability or weight "
                "downwards (Eq. 5 of the paper, Figs. 6 and 9–12), seeds and guidance across. Each cell is what "
                "Product-of-Experts KSampler gives; all cells of a seed start from the same noise."
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain of Diffusion Expert nodes."),
                io.Int.Input(
                    "expert_index",
                    default=1,
                    min=1,
                    max=100,
                    tooltip="The expert to sweep, 1 to 100, counted along the chain from the first.",
                ),
                io.String.Input(
                    "values",
                    default="0.1, 0.3, 0.5, 0.7, 0.9",
                    tooltip='A row for each value, 0 to 1: "0, 0.5, 1", or "0-1 [5]" for five evenly from 0 to 1. 0 '
                    'and 1 need experts that act throughout. For an absolute weight any weights: "1, 2, 4, 6". At most '
                    f"{MOST_ACROSS}.",
                ),
                io.Combo.Input(
                    "vary",
                    options=[varied.value for varied in Varied],
                    default=Varied.RELIABILITY.value,
                    tooltip="What a value v sets. reliability: v is the expert's share in U, and the others share "
                    "1 − v. weight: the expert's w times v, the others' times 1 − v. reliability and weight: both, "
                    "from the others' product (0) to the expert alone (1). absolute weight: v is the expert's w, and "
                    "the others keep theirs.",
                ),
                io.String.Input(
                    "guidance",
                    default="1",
                    tooltip='Factors of all weights, a column for each with every seed: "0.5, 1, 2", or "1-3 [5]". 1 '
                    "leaves the weights as they are.",
                ),
                seed_input("seed", "The first seed of the start noise, 0 to 2⁶⁴ − 1."),
                io.Int.Input(
                    "seeds",
                    default=1,
                    min=1,
                    max=MOST_ACROSS,
                    tooltip=f"How many seeds, 1 to {MOST_ACROSS}, counted up from the first; columns are seeds × "
                    f"guidance, {MOST_ACROSS} at most.",
                ),
                *sampling_inputs(),
                io.Vae.Input("vae", tooltip="Turns the samples into pictures: the VAE of the first expert."),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="A picture to compare with, shown above the grid. If the same graph also samples the "
                    "product as it is, connect that picture here: it is finished first.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent",
                    tooltip="The samples of all cells as one batch, row by row.",
                ),
                io.Image.Output(
                    display_name="grid",
                    tooltip="A labelled grid for each picture of the batch that latent_image holds.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("experts", check_sweep))

    @classmethod
    def execute(
        cls,
        experts: Experts,
        expert_index: int,
        values: str,
        vary: str,
        guidance: str,
        seed: int,
        seeds: int,
        steps: int,
        sampler_name: str,
        scheduler: str,
        latent_image: dict,
        denoise: float,
        vae: comfy.sd.VAE,
        reference: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Sample and draw."""
        sweep = read_sweep(expert_index, values, vary, guidance, seed, seeds)
        widgets = Widgets(steps, sampler_name, scheduler, denoise)
        return io.NodeOutput(*sample_sweep(experts, sweep, widgets, latent_image, vae, reference))


class Choose(io.ComfyNode):
    """Keeps the samples that best match every prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.CHOOSE,
            display_name="Choose Samples",
            category="mcdm/analysis",
            search_aliases=aliases("best of n, rejection, CompLift, lift score, rank, filter batch"),
            description=(
                "Keeps the pictures that best match every prompt, by the `scores` of their run, at no pass. Ranks them "
                "by the smallest lift of any expert of the product (Eq. 10 of the paper), E[‖x_0 − D(∅)‖² − ‖x_0 − "
                "D_i‖²] over the steps (CompLift, 2025)."
            ),
            inputs=[
                ExpertChain.Input(
                    "experts",
                    tooltip="The chain that made the samples. Experts of weight 0 don't judge; all others are asked "
                    "their negative in the run. A negative weight turns an expert's lift around.",
                ),
                io.Latent.Input(
                    "samples",
                    tooltip="The finished samples, at least two in one batch, straight from a run of this chain with "
                    "`scores` on.",
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="How many to keep, 1 to 4096, at most as many as there are; the best comes first.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The samples kept, the best first."),
                io.String.Output(
                    display_name="scores",
                    tooltip="A line for each sample, the best first: its place in the batch, its smallest lift, and "
                    "that of each expert. Above 0 the prompt shows.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("count", check_choose_node))

    @classmethod
    def execute(cls, experts: Experts, samples: dict, count: int) -> io.NodeOutput:
        """Choose."""
        return io.NodeOutput(*choose_samples(experts, samples, count))

"""Nodes that show how experts work together."""

import torch
from comfy_api.latest import io

from .host.chain import Experts
from .host.inspect import sample_recorded
from .host.inspect_pictures import check_vae, guidance_plots, prediction_grids
from .host.prompt import check_chain
from .host.shown_steps import check_shown_steps
from .types import ExpertChain


class Inspect(io.ComfyNode):
    """MCDM_Inspect."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_Inspect",
            display_name="Inspect Product",
            category="mcdm/analysis",
            description=(
                "Samples as SamplerCustomAdvanced does with Product Guider, and shows the summands of Eq. 10 of the "
                "paper: every expert's x0 beside the product's at chosen steps, how far each expert's guidance "
                "w_i (D_i − U) reaches, and how far the experts agree."
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain of Diffusion Expert nodes."),
                io.Noise.Input("noise", tooltip="The start noise, from RandomNoise."),
                io.Sampler.Input("sampler", tooltip="How noise is removed; any SAMPLER."),
                io.Sigmas.Input("sigmas", tooltip="Noise levels, made for the first expert of the chain."),
                io.Latent.Input(
                    "latent_image",
                    tooltip="What to start from: Empty Latent (Expert), or an encoded picture. A noise mask is "
                    "respected; where it keeps the picture, guidance isn't measured.",
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
                    tooltip="A grid for each picture of the batch: the x0 of every expert, the unconditional estimate "
                    "U, and the product; steps across.",
                ),
                io.Image.Output(
                    display_name="plot",
                    tooltip="A plot for each picture of the batch: each expert's guidance over the steps, as root mean "
                    "square change of x0, and the cosine between each pair of experts' guidance.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, experts, steps_shown: str | None) -> bool | str:
        """Refuse steps that cannot be read, and chains that cannot be combined."""
        readable = steps_shown is None or check_shown_steps(steps_shown)
        return check_chain(cls.hidden.unique_id) if readable is True else readable

    @classmethod
    def execute(
        cls,
        experts: Experts,
        noise,
        sampler,
        sigmas: torch.Tensor,
        latent_image: dict,
        vae,
        steps_shown: str,
    ) -> io.NodeOutput:
        """Sample and draw."""
        check_vae(experts, vae)
        latent, recording = sample_recorded(experts, noise, sampler, sigmas, latent_image, steps_shown)
        return io.NodeOutput(latent, prediction_grids(experts, recording, vae), guidance_plots(experts, recording))

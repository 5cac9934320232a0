"""Nodes that bring experts into a graph."""

from functools import partial

import comfy.model_management
import torch
from comfy_api.latest import io

from ..mcdm_core.conditions import Encoder
from .host.chain import node_ids
from .host.files import expert_folders as folders
from .host.files.expert_model import expert_to_model, manage_text_encoder
from .host.files.latent_formats import vae_of
from .host.prompt.faults import check_value
from .host.prompt.validation import Validation
from .widgets import ExpertEncoder, aliases


class LoadExpert(io.ComfyNode):
    """Loads an expert's file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.LOAD_EXPERT,
            display_name="Load Diffusion Expert",
            category="mcdm/loaders",
            search_aliases=aliases("load model, pixel model, guided diffusion, GLIDE, unite and conquer"),
            description=(
                "Loads an expert, a diffusion model that works on pixels or on latents of its VAE, from models/mcdm or "
                "from those shipped. The MODEL works in every sampler; the encoder makes its prompts and negatives "
                "from captions, maps, sketches or classes: ε(z_t, x, t) of the paper is this MODEL under such a prompt "
                "x."
            ),
            inputs=[
                io.Combo.Input(
                    "expert_name",
                    options=folders.expert_names(),
                    tooltip="File of the expert, in models/mcdm or shipped with the pack. A file that cannot be used "
                    "is refused when the prompt is queued, and so is an expert whose VAE is missing.",
                )
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="The expert as an ordinary MODEL. Its latents are pictures, or those of its VAE; in a "
                    "product of both kinds connect the vae to each Diffusion Expert.",
                ),
                ExpertEncoder.Output(
                    display_name="encoder", tooltip="Makes this expert's prompts, negatives and empty latents."
                ),
                io.Vae.Output(
                    display_name="vae",
                    tooltip="For VAE Decode and VAE Encode, tiled ones too: the expert's own VAE, or ComfyUI's "
                    "pixel-space VAE for an expert that works on pixels.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(
        Validation("expert_name", partial(check_value, name="expert_name", read=folders.check_expert_file))
    )

    @classmethod
    def fingerprint_inputs(cls, expert_name: str) -> tuple:
        """Load again when the expert's file or its VAE's has changed, or FaRL's has been added."""
        return folders.file_state(expert_name)

    @classmethod
    def execute(cls, expert_name: str) -> io.NodeOutput:
        """Load the expert."""
        expert, vae = folders.load(expert_name), folders.vae_path(expert_name)
        return io.NodeOutput(
            expert_to_model(expert, expert_name),
            manage_text_encoder(expert.encoder),
            vae_of(vae),
        )


class EmptyLatent(io.ComfyNode):
    """Makes an empty latent of an expert's size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.EMPTY_LATENT,
            display_name="Empty Latent (Expert)",
            category="mcdm/latent",
            search_aliases=aliases("empty latent image, pixel latent, size"),
            description=(
                "Makes an empty latent of an expert's own size and channels, for a new picture: z_T of the paper's "
                "Eq. 9 before noise is added. For checkpoints take Empty Latent Image."
            ),
            inputs=[
                ExpertEncoder.Input("encoder", tooltip="Encoder of the expert whose size and channels are wanted."),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="Number of pictures made at once, 1 to 4096; 1 is one picture. Memory grows with it.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="Zeros; samplers add the noise.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("encoder"))

    @classmethod
    def execute(cls, encoder: Encoder, batch_size: int) -> io.NodeOutput:
        """Make the latent."""
        shape = (batch_size, encoder.channels, encoder.sample_size, encoder.sample_size)
        return io.NodeOutput({"samples": torch.zeros(shape, device=comfy.model_management.intermediate_device())})

"""Nodes that give experts a picture to work on: one to enlarge, or one to fill in."""

from functools import partial

import torch
from comfy_api.latest import io

from ..mcdm_core.conditions import Encoder
from .host.chain import node_ids
from .host.files.conditioning import picture_conditions
from .host.prompt.expert_checks import check_encoder
from .host.prompt.validation import Validation
from .widgets import ExpertEncoder, aliases, condition_outputs

_OUTPUTS = {"positive": "The prompt with the picture", "negative": "The negative with the same picture"}


def _condition_inputs(tooltip: str) -> list:
    """Inputs for the condition, of which a tooltip tells, and for the null beside the picture."""
    return [
        io.Conditioning.Input(
            "condition",
            display_name="positive",
            optional=True,
            tooltip=tooltip,
        ),
        io.Conditioning.Input(
            "null",
            display_name="negative",
            optional=True,
            tooltip="The negative beside that prompt. Unconnected: the expert's own.",
        ),
    ]


class EncodeLowRes(io.ComfyNode):
    """Adds the small picture that an expert enlarges to its condition."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.ENCODE_LOW_RES,
            display_name="Encode Low Resolution",
            category="mcdm/conditioning",
            search_aliases=aliases("upscale, upsample, super resolution, enlarge"),
            description=(
                "Gives an upsampling expert the small picture to enlarge, in the prompt and in the negative: "
                "x_i and ∅ of Eq. 10. The expert reads it beside z_t, as the upsamplers of GLIDE "
                "(Nichol et al., 2022) and guided-diffusion do."
            ),
            inputs=[
                ExpertEncoder.Input("encoder", tooltip="Encoder of the upsampling expert, from Load Diffusion Expert."),
                io.Image.Input(
                    "image",
                    tooltip="The picture to enlarge. It is brought to the size that the expert reads, mostly a quarter "
                    "of its own: 64 × 64 pixels for one of 256 × 256.",
                ),
                *_condition_inputs(
                    "What else the upsampler is told: its text or class, from Encode Text or Encode Class. "
                    "Unconnected: nothing; class experts need it."
                ),
            ],
            outputs=condition_outputs(_OUTPUTS),
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("encoder", partial(check_encoder, given="low resolution")))

    @classmethod
    def execute(
        cls, encoder: Encoder, image: torch.Tensor, condition: list | None = None, null: list | None = None
    ) -> io.NodeOutput:
        """Encode the picture."""
        return io.NodeOutput(*picture_conditions(encoder, partial(encoder.encode_low_res, image), condition, null))


class EncodeInpaint(io.ComfyNode):
    """Adds the picture that an expert fills in to its condition."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.ENCODE_INPAINT,
            display_name="Encode Inpainting (Expert)",
            category="mcdm/conditioning",
            search_aliases=aliases("inpaint, outpaint, fill in, mask"),
            description=(
                "Gives an inpainting expert (GLIDE's base_inpaint and upsample_inpaint; Nichol et al., 2022) the "
                "picture, and the part of it to fill in. To keep the rest exactly, sample from the picture's own "
                "latent with Set Latent Noise Mask."
            ),
            inputs=[
                ExpertEncoder.Input("encoder", tooltip="Encoder of the inpainting expert, from Load Diffusion Expert."),
                io.Image.Input("image", tooltip="The picture, of any size; its middle square is used."),
                io.Mask.Input("mask", tooltip="White (1) where the picture is to be filled in; cut at a half."),
                *_condition_inputs(
                    "The text that goes with it, from Encode Text or Encode Low Resolution. Unconnected: no text."
                ),
            ],
            outputs=condition_outputs(_OUTPUTS),
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("encoder", partial(check_encoder, given="inpainting")))

    @classmethod
    def execute(
        cls,
        encoder: Encoder,
        image: torch.Tensor,
        mask: torch.Tensor,
        condition: list | None = None,
        null: list | None = None,
    ) -> io.NodeOutput:
        """Encode the picture and its mask."""
        return io.NodeOutput(
            *picture_conditions(encoder, partial(encoder.encode_inpaint, image, mask), condition, null)
        )

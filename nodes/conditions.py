"""Nodes that turn text, classes, maps and sketches into conditions of experts."""

from functools import partial

import torch
from comfy_api.latest import io

from ..mcdm_core.conditions import Encoder, SketchSource
from ..mcdm_core.conditions.reading.sketch import HIGH_THRESHOLD, LOW_THRESHOLD
from .host.files.conditioning import (
    SWAPPED_ORDER,
    USUAL_ORDER,
    NullKind,
    check_one_map,
    class_and_null,
    condition_and_null,
    merge_into,
    sketch_picture,
)
from .host.prompt.expert_checks import check_encoder
from .host.prompt.validation import Validation
from .widgets import ExpertEncoder, aliases, condition_outputs

MAPS = ["auto", "face", "hair", "skin"]  # face and skin are two names of one map

_ENCODER_TOOLTIP = "Encoder of the expert that the prompt is for, from Load Diffusion Expert."
_OUTPUTS = {"positive": "The prompt (x)", "negative": "The negative (∅)"}


class EncodeText(io.ComfyNode):
    """Makes conditions of texts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_EncodeText",
            display_name="Encode Text (Expert)",
            category="mcdm/conditioning",
            search_aliases=aliases("caption, prompt, CLIP text encode, text prompt, positive, negative"),
            description=(
                "Turns a caption into the prompt and the negative (the paper's null condition) of a text expert. The "
                "experts shipped and the paper's face network read the caption's embedding in place of a picture's, on "
                "which they were trained (paper, §7.3, Eq. 20); their negative is the zero embedding. GLIDE reads the "
                "caption's tokens; its negative has none."
            ),
            inputs=[
                ExpertEncoder.Input("encoder", tooltip=_ENCODER_TOOLTIP),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    default="a smiling face with a red beard",
                    tooltip="What the picture shows, in free words. Words that a shipped expert doesn't know are named "
                    "in a warning on the node and ignored, and an empty text says nothing.",
                ),
            ],
            outputs=condition_outputs(_OUTPUTS),
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("encoder", partial(check_encoder, given="text")))

    @classmethod
    def execute(cls, encoder: Encoder, text: str) -> io.NodeOutput:
        """Encode the text."""
        return io.NodeOutput(*condition_and_null(encoder, encoder.encode_text(text)))


class EncodeClass(io.ComfyNode):
    """Makes conditions of classes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_EncodeClass",
            display_name="Encode Class (Expert)",
            category="mcdm/conditioning",
            search_aliases=aliases("ImageNet, label, category, synset"),
            description=(
                "Turns the name of a class into the prompt of a class expert (paper, §4.2), and makes the negative "
                "that stands for no class: ∅ of Eq. 10."
            ),
            inputs=[
                ExpertEncoder.Input("encoder", tooltip=_ENCODER_TOOLTIP),
                io.String.Input(
                    "class_name",
                    default="fox",
                    tooltip="Name of the class, as the expert's file lists it, or its index from 0. ImageNet's "
                    "experts know its names and synsets: tabby, or n02123045, or 281. A name that the expert doesn't "
                    "know is refused.",
                ),
                io.Combo.Input(
                    "null_kind",
                    options=[kind.value for kind in NullKind],
                    default=NullKind.CLASS_0.value,
                    display_name="negative_kind",
                    tooltip="What stands for no class. class 0: the first class, as in the paper's code; of the "
                    "shipped class expert it is the trained negative. mean of all classes: the mean of their "
                    "embeddings.",
                    advanced=True,
                ),
            ],
            outputs=condition_outputs(_OUTPUTS),
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("encoder", partial(check_encoder, given="class")))

    @classmethod
    def execute(cls, encoder: Encoder, class_name: str, null_kind: str) -> io.NodeOutput:
        """Encode the class."""
        return io.NodeOutput(*class_and_null(encoder, class_name, NullKind(null_kind)))


class EncodeMap(io.ComfyNode):
    """Makes conditions of segmentation maps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_EncodeMap",
            display_name="Encode Segmentation Map (Expert)",
            category="mcdm/conditioning",
            search_aliases=aliases("segmentation, semantic map, mask to condition, hair, skin, face parsing"),
            description=(
                "Turns a segmentation map, a picture or a mask of where hair or skin is, into the prompt of a map "
                "expert; the negative is no map. The map is scaled to the expert's size and "
                "concatenated to z_t (paper, §4.1): x_i in ε_i(z_t, x_i, t)."
            ),
            inputs=[
                ExpertEncoder.Input("encoder", tooltip=_ENCODER_TOOLTIP),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The map as a gray picture, white where the part is. Connect this or `mask`.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="The map as a mask, 1 where the part is. Connect this or `image`."
                ),
                io.Combo.Input(
                    "map",
                    options=MAPS,
                    default="auto",
                    tooltip="What the map shows. auto: whatever the expert reads (neutral). hair, or skin; face is the "
                    "paper's name for skin, the same map. Refused if the expert reads another.",
                ),
                io.Boolean.Input(
                    "with_text",
                    default=False,
                    tooltip="On for the paper's face network if another expert of the same model has a text as its "
                    "prompt: the text changes what the network computes. Off for all other experts.",
                    advanced=True,
                ),
                io.Conditioning.Input(
                    "condition",
                    display_name="positive",
                    optional=True,
                    tooltip="Another prompt of the same expert, to be merged with this map into one, for experts that "
                    "read several. Unconnected: the map alone.",
                ),
                io.Combo.Input(
                    "map_order",
                    options=[USUAL_ORDER, SWAPPED_ORDER],
                    default=USUAL_ORDER,
                    optional=True,
                    tooltip="Where the paper's face network finds its two maps: face, hair as the published code "
                    "samples (neutral), or hair, face as it trains. Use one order in a graph.",
                    advanced=True,
                ),
            ],
            outputs=condition_outputs(_OUTPUTS),
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("map", partial(check_encoder, given="map")))

    @classmethod
    def execute(
        cls,
        encoder: Encoder,
        map: str,
        with_text: bool,
        image: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        condition: list | None = None,
        map_order: str = USUAL_ORDER,
    ) -> io.NodeOutput:
        """Encode the map, and merge it into the given condition, if any."""
        encoder = encoder.swapped() if map_order == SWAPPED_ORDER else encoder
        encoded = encoder.encode_map(check_one_map(image, mask), map)
        if with_text:
            encoded = encoder.with_text(encoded)
        if condition is not None:
            return io.NodeOutput(*merge_into(encoder, condition, encoded))
        return io.NodeOutput(*condition_and_null(encoder, encoded))


class EncodeSketch(io.ComfyNode):
    """Makes conditions of sketches."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_EncodeSketch",
            display_name="Encode Sketch (Expert)",
            category="mcdm/conditioning",
            search_aliases=aliases("canny, edges, scribble, lineart, line drawing"),
            description=(
                "Turns the edges of a picture as Canny finds them, or a drawing, into the prompt of a sketch "
                "expert (paper, §7.5). The negative is no sketch."
            ),
            inputs=[
                ExpertEncoder.Input("encoder", tooltip=_ENCODER_TOOLTIP),
                io.Image.Input("image", tooltip="A picture or a drawing of any size."),
                io.Combo.Input(
                    "mode",
                    options=[source.value for source in SketchSource],
                    default=SketchSource.EDGES.value,
                    tooltip="What the image is. Edges of a picture: found by Canny. Drawing: taken as it is, dark "
                    "lines on light or light lines on dark.",
                ),
                io.Float.Input(
                    "low_threshold",
                    default=float(LOW_THRESHOLD),
                    min=0.0,
                    max=2000.0,
                    step=1.0,
                    tooltip="Canny's lower threshold, 0 to 2000: gradients above it continue an edge. The expert was "
                    "trained with 100. Unused for drawings.",
                    advanced=True,
                ),
                io.Float.Input(
                    "high_threshold",
                    default=float(HIGH_THRESHOLD),
                    min=0.0,
                    max=2000.0,
                    step=1.0,
                    tooltip="Canny's upper threshold, 0 to 2000: gradients above it begin an edge. The expert was "
                    "trained with 200. Unused for drawings.",
                    advanced=True,
                ),
            ],
            outputs=[
                *condition_outputs(_OUTPUTS),
                io.Image.Output(display_name="sketch", tooltip="What the expert sees."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("encoder", partial(check_encoder, given="sketch")))

    @classmethod
    def execute(
        cls, encoder: Encoder, image: torch.Tensor, mode: str, low_threshold: float, high_threshold: float
    ) -> io.NodeOutput:
        """Encode the sketch."""
        condition = encoder.encode_sketch(image, mode, low_threshold, high_threshold)
        return io.NodeOutput(*condition_and_null(encoder, condition), sketch_picture(encoder, condition))

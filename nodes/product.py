"""Nodes that combine experts: any number of MODELs, each with its condition, sampled as one."""

from functools import partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ..mcdm_core.product.rules.own_null import OWN_NULL
from .host.chain import node_ids
from .host.chain.expert_chain import Experts, WiredTerm
from .host.files.expert_model import implicit_null
from .host.prompt.chain_checks import check_chain
from .host.prompt.expert_checks import check_expert
from .host.prompt.space_checks import check_latents, check_space
from .host.prompt.validation import Validation
from .host.run.guider import OwnNullProductGuider, ProductGuider
from .host.run.ksampler import Widgets, sample, warn_of_sampler
from .host.run.product_model import product_model
from .widgets import (
    ExpertChain,
    aliases,
    reliability_input,
    sampling_inputs,
    scores_input,
    seed_input,
    vae_input,
    weight_input,
    window_inputs,
)

_RULE = "Eq. 10 of the paper: ε = U + Σ w_i (ε_i(z_t, x_i, t) − U), with U = Σ a_j ε_j(z_t, ∅, t) and Σ a_j = 1."
_COMBINING = (
    "composable, AND, combine models, merge models, mix models, mix two models, blend models, unite, "
    "multi model, ensemble, mixture of experts, product of experts, sdxl and sd15, combine loras, multiple loras, "
    "two loras, lora bleeding, concept bleeding, two checkpoints, blend checkpoints, two characters, regional prompt"
)


class Expert(io.ComfyNode):
    """Adds an expert to a chain."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.EXPERT,
            display_name="Diffusion Expert",
            category="mcdm/product",
            search_aliases=aliases(
                f"{_COMBINING}, "
                "condition, negative from another model, autoguidance, guide with base model, "
                "base model negative, two families",
            ),
            description=(
                "Adds one model to a picture that several draw together (a product of experts), with its prompt, its "
                "negative (the paper's null condition) and its weight (cfg); chain several of these nodes. The first "
                f"of the chain is the reference: it decides latents, noise levels and previews. {_RULE}"
            ),
            inputs=[
                io.Model.Input(
                    "model", tooltip="Any MODEL: an expert of this pack, or a checkpoint with whatever is attached."
                ),
                io.Conditioning.Input(
                    "condition",
                    display_name="positive",
                    optional=True,
                    tooltip="The prompt of this expert, as `positive` of a KSampler (x_i). Unconnected: the expert "
                    "only lends its negative; set weight to 0.",
                ),
                io.Conditioning.Input(
                    "null",
                    display_name="negative",
                    optional=True,
                    tooltip="The negative of this expert, as `negative` of a KSampler (∅). Needed where the "
                    "reliability is above 0, unless all weights sum to 1 (experts of one latent space).",
                ),
                weight_input(
                    "How strongly the prompt pulls, −20 to 20: cfg, for a single model. Weights add up: two experts at "
                    "3.5 are cfg 7, so divide your usual cfg among the models. 1 in total is no guidance, 0 ignores "
                    "the prompt, negative pushes away (w_i).",
                ),
                reliability_input(
                    "In doubt, the same number as the weight. This model's share of the negative that all use (a in "
                    "U), 0 to 100."
                ),
                *window_inputs(" Outside its window an expert costs nothing."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the expert acts, 0 to 1, any size; soft edges blend. Unconnected: everywhere.",
                ),
                ExpertChain.Input(
                    "experts",
                    optional=True,
                    tooltip="The experts before this one. Unconnected: this is the first, the reference.",
                ),
                vae_input("this model"),
            ],
            outputs=[ExpertChain.Output(display_name="experts", tooltip="The chain with this expert added.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("weight", check_expert))

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        weight: float,
        reliability: float,
        start: float,
        end: float,
        condition: list | None = None,
        null: list | None = None,
        mask: torch.Tensor | None = None,
        experts: Experts = (),
        vae: VAE | None = None,
    ) -> io.NodeOutput:
        """Add the expert."""
        null = implicit_null(model) if null is None else null
        expert = WiredTerm(
            model,
            condition,
            null,
            weight=weight,
            reliability=reliability,
            start=start,
            end=end,
            mask=mask,
            vae=vae,
            place=len(experts) + 1,
            node=cls.hidden and cls.hidden.unique_id,
        )
        return io.NodeOutput((*experts, expert))


class Guider(io.ComfyNode):
    """Combines a chain by Eq. 10 into a GUIDER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.GUIDER,
            display_name="Product Guider",
            category="mcdm/product",
            search_aliases=aliases(
                "composable, AND, unite, ensemble, mixture of experts, product of experts, CFG guider, dual model"
            ),
            description=(
                "Combines chained experts into one guidance for SamplerCustomAdvanced, with any sampler and sigmas. "
                f"{_RULE}"
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain of Diffusion Expert nodes."),
                scores_input(),
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="To SamplerCustomAdvanced.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("experts", check_chain))

    @classmethod
    def execute(cls, experts: Experts, scores: bool = False) -> io.NodeOutput:
        """Make the guider."""
        return io.NodeOutput(ProductGuider(experts, scores=scores))


class OwnNullGuider(io.ComfyNode):
    """Combines a chain by composable diffusion into a GUIDER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.OWN_NULL_GUIDER,
            display_name="Own-Negative Guider",
            category="mcdm/product",
            search_aliases=aliases(
                "own null, composable diffusion, composable, AND, MixMod, CFG guider, LoRA Composite, multi lora, "
                "multiple loras, combine loras, two loras, lora bleeding, concept bleeding"
            ),
            description=(
                "Measures each prompt against the negative of its own model, not against one mean of all as the "
                "paper's Eq. 10 does; the same picture where reliabilities are in proportion to weights. Composable "
                "diffusion (AND; Liu et al. 2022), across models:"
                " ε = Σ a_j ε_j(z_t, ∅, t) + Σ w_i (ε_i(z_t, x_i, t) − ε_i(z_t, ∅, t))."
            ),
            inputs=[
                ExpertChain.Input(
                    "experts",
                    tooltip="The chain of Diffusion Expert nodes. Connect a negative to every expert; one whose weight "
                    "equals its share of the reliabilities needs none.",
                ),
                scores_input(),
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="To SamplerCustomAdvanced.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("experts", partial(check_chain, rule=OWN_NULL)))

    @classmethod
    def execute(cls, experts: Experts, scores: bool = False) -> io.NodeOutput:
        """Make the guider."""
        return io.NodeOutput(OwnNullProductGuider(experts, scores=scores))


class KSampler(io.ComfyNode):
    """Samples a chain as KSampler samples a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.KSAMPLER,
            display_name="Product-of-Experts KSampler",
            category="mcdm/product",
            search_aliases=aliases(_COMBINING),
            description=(
                "Combines several models in one KSampler: a product of experts, each with its own prompt and weight. "
                f"With one expert it equals ComfyUI's KSampler at cfg = weight, bit for bit. {_RULE}"
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain of Diffusion Expert nodes."),
                seed_input("seed", "Seed of the start noise, 0 to 2⁶⁴ − 1; the same seed gives the same picture."),
                *sampling_inputs(),
                scores_input(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The sampled latent.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("experts", check_chain))

    @classmethod
    def execute(
        cls,
        experts: Experts,
        seed: int,
        steps: int,
        sampler_name: str,
        scheduler: str,
        latent_image: dict,
        denoise: float,
        scores: bool = False,
    ) -> io.NodeOutput:
        """Sample."""
        widgets = Widgets(steps, sampler_name, scheduler, denoise)
        warn_of_sampler(experts, widgets)
        return io.NodeOutput(sample(ProductGuider(experts, scores=scores), seed, widgets, latent_image))


class ProductModel(io.ComfyNode):
    """Makes a MODEL of a chain and its reference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.PRODUCT_MODEL,
            display_name="Product as Model",
            category="mcdm/product",
            search_aliases=aliases(
                "combine models, merge models, model merge, mix models, mix two models, blend models, sdxl and sd15, "
                "unite, ensemble, composable, face detailer, tiled upscaler, any sampler"
            ),
            description=(
                "Makes one MODEL of several (a product of experts, by Eq. 10 of the paper), for any sampler node: "
                "KSampler, a detailer, a tiled upscaler. The positive, negative and cfg of that node belong to the "
                "model given here, the first and reference expert."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The reference expert: it decides latents, noise levels and previews. What is attached to "
                    "the output belongs to it as well.",
                ),
                reliability_input(
                    "In doubt, the same number as the sampler's cfg. How much of the negative that all prompts are "
                    "measured against this model supplies, 0 to 100, relative to the others (a in U)."
                ),
                ExpertChain.Input(
                    "experts",
                    tooltip="The other experts, a chain of Diffusion Expert nodes. Their weights add to the sampler's "
                    "cfg: at cfg 4, one more expert of weight 3 makes a guidance of 7.",
                ),
                vae_input("the model given here"),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The product, for any node that samples a MODEL.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("model", lambda node: check_space(node) or check_latents(node)))

    @classmethod
    def execute(
        cls, model: ModelPatcher, reliability: float, experts: Experts, vae: VAE | None = None
    ) -> io.NodeOutput:
        """Make the model."""
        node = cls.hidden and cls.hidden.unique_id
        reference = WiredTerm(model, weight=0.0, reliability=reliability, vae=vae, node=node)
        return io.NodeOutput(product_model(reference, experts))

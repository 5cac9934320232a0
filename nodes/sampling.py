"""Nodes for sampling: the paper's timesteps, DDIM with η, start noise that is scaled down, and AND, OR and NOT."""

from functools import partial

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..mcdm_core import space_timesteps
from ..mcdm_core.sampling.operations import OPERATIONS, Logic
from .host.chain import node_ids
from .host.comfyui.start_noise import ScaledNoise
from .host.prompt.faults import check_value
from .host.prompt.sampler_checks import check_logic_node
from .host.prompt.validation import Validation
from .host.samplers.ddim import sample_comfy_ddim, spaced_sigmas
from .host.samplers.logic import sample_comfy_logic
from .widgets import aliases, denoise_input, seed_input


class Sigmas(io.ComfyNode):
    """Gives the noise levels at evenly spaced timesteps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.SIGMAS,
            display_name="Timestep Spacing",
            category="mcdm/sampling",
            search_aliases=aliases("scheduler, timesteps, respacing, steps"),
            description=(
                "Gives the noise levels at the timesteps the paper samples on, which ComfyUI's schedulers cannot "
                "produce: evenly spaced, the last one included (Nichol & Dhariwal, 2021). σ_t = √((1 − ᾱ_t)/ᾱ_t)."
            ),
            inputs=[
                io.Model.Input(
                    "model", tooltip="The reference expert: the first of the chain. Its schedule gives the levels."
                ),
                io.String.Input(
                    "spacing",
                    display_name="steps",
                    default="100",
                    tooltip='"100": that many timesteps from first to last. "ddim100": one integer stride. "fast27": '
                    "GLIDE's choice. "
                    '"10,10,3,2,2": so many in each of equal sections. At most as many as the model has, mostly 1000.',
                ),
                denoise_input(
                    "Share of the steps to keep, from the end, 0 to 1: 1 makes a new picture, less keeps more of the "
                    "latent."
                ),
            ],
            outputs=[io.Sigmas.Output(display_name="sigmas", tooltip="To SamplerCustomAdvanced.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("spacing", partial(check_value, name="spacing", read=space_timesteps)))

    @classmethod
    def execute(cls, model: ModelPatcher, spacing: str, denoise: float) -> io.NodeOutput:
        """Compute the noise levels."""
        return io.NodeOutput(spaced_sigmas(model, spacing, denoise))


class SamplerDDIM(io.ComfyNode):
    """Makes a SAMPLER of DDIM with η."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_SamplerDDIM",
            display_name="DDIM Sampler",
            category="mcdm/sampling",
            search_aliases=aliases("eta, ancestral, DDPM"),
            description=(
                "DDIM with a choice of how much noise each step adds, η (Song et al., 2021). Exact at the very large "
                "noise levels of the cosine schedule, where ComfyUI's Euler step loses digits: x' = D + (σ_down/σ)(x "
                "− D) + σ_up·n."
            ),
            inputs=[
                io.Float.Input(
                    "eta",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="η, 0 to 1: noise added at each step. 0 is deterministic, 1 is DDPM's ancestral sampling.",
                )
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="To SamplerCustomAdvanced.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("eta"))

    @classmethod
    def execute(cls, eta: float) -> io.NodeOutput:
        """Make the sampler."""
        return io.NodeOutput(comfy.samplers.KSAMPLER(sample_comfy_ddim, extra_options={"eta": eta}))


class RandomNoise(io.ComfyNode):
    """Makes start noise times a temperature."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_RandomNoise",
            display_name="Random Noise (Temperature)",
            category="mcdm/sampling",
            search_aliases=aliases("noise scale, temperature, seed"),
            description=(
                "ComfyUI's RandomNoise times a temperature. The published code starts GLIDE's upsampler (Nichol et "
                "al., 2022) from slightly less noise than it was trained on, which makes its pictures calmer."
            ),
            inputs=[
                seed_input("noise_seed", "Seed of the noise, 0 to 2⁶⁴ − 1; the same seed gives the same noise."),
                io.Float.Input(
                    "temperature",
                    default=0.997,
                    min=0.0,
                    max=2.0,
                    step=0.001,
                    round=0.0001,
                    tooltip="Factor of the noise, 0 to 2: 1 is RandomNoise (neutral), 0.997 what the paper's code and "
                    "GLIDE's give the upsampler, 0.98 what composable diffusion's gives it.",
                ),
            ],
            outputs=[io.Noise.Output(display_name="noise", tooltip="To SamplerCustomAdvanced.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("temperature"))

    @classmethod
    def execute(cls, noise_seed: int, temperature: float) -> io.NodeOutput:
        """Make the noise."""
        return io.NodeOutput(ScaledNoise(noise_seed, temperature))


class LogicSampler(io.ComfyNode):
    """Makes a SAMPLER of AND, OR and NOT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_Logic",
            display_name="Logic Sampler",
            category="mcdm/sampling",
            search_aliases=aliases(
                "AND, OR, NOT, either or, no blend, union, intersection, Dombi, dynamic negative guidance, composable"
            ),
            description=(
                "OR: each picture shows one prompt or the other, instead of a blend. AND, and NOT by a negative "
                "weight: see the help. Each expert's density is tracked along ancestral steps and decides what it "
                "counts, instead of the paper's Eq. 10: ω_i = ∂ log r/∂ log p_i. Works with Product Guider and "
                "Own-Negative Guider, and costs no more passes than ancestral sampling."
            ),
            inputs=[
                io.Combo.Input(
                    "operation",
                    options=[*OPERATIONS],
                    tooltip="What the experts of positive weight draw. or: each picture is what one of them finds "
                    "likely. and: only what all find likely. Without effect for an expert alone.",
                ),
                io.Float.Input(
                    "sharpness",
                    default=1.0,
                    min=0.0001,
                    max=100.0,
                    step=0.01,
                    round=0.0001,
                    tooltip="How firmly one expert decides, λ, 0.0001 to 100. At 1, or gives a picture to one expert "
                    "(the mixture), and gives each step to the expert that lags behind. At 0.01 to 0.1 experts share "
                    "the steps.",
                ),
                io.Float.Input(
                    "prior",
                    default=0.5,
                    min=0.001,
                    max=1.0,
                    step=0.01,
                    round=0.001,
                    tooltip="Share of the pictures that an excluded expert (negative weight) is taken to explain, "
                    "0.001 to 1. Higher excludes more. Without effect where all weights are positive.",
                ),
                io.Float.Input(
                    "largest",
                    default=2.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.001,
                    tooltip="How strongly excluded experts (negative weight) count at most together, 0 to 100; at 0 "
                    "they exclude nothing. They reach it near what they find likely, and count nothing far from it.",
                ),
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="To SamplerCustomAdvanced or Inspect Product.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("operation", check_logic_node))

    @classmethod
    def execute(cls, operation: str, sharpness: float, prior: float, largest: float) -> io.NodeOutput:
        """Make the sampler."""
        logic = Logic(operation=operation, sharpness=sharpness, excluded=prior, largest=largest)
        return io.NodeOutput(comfy.samplers.KSAMPLER(sample_comfy_logic, extra_options={"logic": logic}))

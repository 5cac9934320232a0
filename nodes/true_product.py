"""Nodes for samples of the true product, which multiplies the experts' densities of clean samples, not noised ones."""

import comfy.samplers
from comfy_api.latest import io

from .host.chain.expert_chain import Experts
from .host.pictures.choose import choose_samples
from .host.prompt.sampler_checks import check_choose_node, check_langevin_node, check_particle_node
from .host.prompt.validation import Validation
from .host.samplers.langevin import langevin_sampler
from .host.samplers.particles import particle_sampler
from .newer_schema import search_aliases
from .types import ExpertChain
from .widgets import limit_input, resample_input, seed_input


class LangevinSampler(io.ComfyNode):
    """MCDM_LangevinSampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_LangevinSampler",
            display_name="Langevin Sampler",
            category="mcdm/sampling",
            is_experimental=True,
            **search_aliases("MCMC, corrector, predictor corrector, reduce reuse recycle, true product"),
            description=(
                "Extra correction steps after each step of another sampler, towards what all experts find likely "
                "together, which the paper's Eq. 10 alone misses (Du et al., 2023); no gain measured on pictures. x += "
                "δ·score + √(2δ)·z with δ = r·σ². Each correction costs as much as a step."
            ),
            inputs=[
                io.Sampler.Input(
                    "sampler",
                    tooltip="The sampler to correct: one that takes each step by itself, such as euler, heun, ddim or "
                    "DDIM Sampler. One that remembers earlier steps (dpmpp_2m, uni_pc, lms, …) is refused.",
                ),
                io.Int.Input(
                    "corrections",
                    default=1,
                    min=0,
                    max=100,
                    tooltip="Corrections at each noise level but the last, 0 to 100. 0 is the sampler itself, bit for "
                    "bit; 1 doubles the time.",
                ),
                io.Float.Input(
                    "ratio",
                    display_name="step_size",
                    default=0.1,
                    min=0.001,
                    max=1.0,
                    step=0.005,
                    round=0.001,
                    tooltip="Size of a correction, r of δ = r·σ², 0.001 to 1. Small ones are exact and slow; at large "
                    "weights large ones overshoot.",
                ),
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="To SamplerCustomAdvanced or Inspect Product.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("MCDM_LangevinSampler", "sampler", check_langevin_node))

    @classmethod
    def execute(cls, sampler: comfy.samplers.Sampler, corrections: int, ratio: float) -> io.NodeOutput:
        """Make the sampler."""
        return io.NodeOutput(langevin_sampler(sampler, corrections, ratio))


class ParticleSampler(io.ComfyNode):
    """MCDM_ParticleSampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_ParticleSampler",
            display_name="Particle Sampler",
            category="mcdm/sampling",
            is_experimental=True,
            **search_aliases("Feynman-Kac, FKC, sequential Monte Carlo, SMC, resampling, true product"),
            description=(
                "Treats the pictures of a batch as candidates (particles): those that all experts find likelier are "
                "copied on the way, others dropped (Skreta et al., 2025); little gained on pictures. With ε_c the "
                "combination of the paper's Eq. 10 and c_k its coefficients, Δlog w = (h/σ)(‖ε_c‖² − Σ c_k ‖ε_k‖²). "
                "Works with Product Guider and Own-Null Guider, and costs no more passes than ancestral sampling."
            ),
            inputs=[
                resample_input(
                    "Candidates are copied and dropped when fewer than this share of the batch still count, 0 to 1. 0 "
                    "only at the end, 1 after every step."
                ),
                limit_input(
                    "How much one step may favour one candidate over another (change of a log weight), 0.001 to 1000. "
                    "Lower keeps more different pictures; without a limit one candidate would take all."
                ),
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="To SamplerCustomAdvanced or Inspect Product.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("MCDM_ParticleSampler", "resample_below", check_particle_node))

    @classmethod
    def execute(cls, resample_below: float, limit: float) -> io.NodeOutput:
        """Make the sampler."""
        return io.NodeOutput(particle_sampler(resample_below, limit))


class Choose(io.ComfyNode):
    """MCDM_Choose."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_Choose",
            display_name="Choose Samples",
            category="mcdm/analysis",
            **search_aliases("best of n, rejection, CompLift, lift score, rank, filter batch"),
            description=(
                "Keeps the pictures that best match every prompt; free with `scores` on. Ranks them by the smallest "
                "lift of any expert of the product (Eq. 10 of the paper), E[‖ε − ε(∅)‖² − ‖ε − ε_i‖²] of noised "
                "samples (CompLift, 2025). Without scores it asks every prompt and negative once at each noise level."
            ),
            inputs=[
                ExpertChain.Input(
                    "experts",
                    tooltip="The chain that made the samples. Experts of weight 0 don't judge; all others need their "
                    "negative (null). A negative weight turns an expert's lift around.",
                ),
                io.Latent.Input(
                    "samples",
                    tooltip="The finished samples, at least two in one batch. If they come from a run of this chain "
                    "with `scores` on, the experts are not asked again.",
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="How many to keep, 1 to 4096, at most as many as there are; the best comes first.",
                ),
                io.Int.Input(
                    "levels",
                    default=8,
                    min=1,
                    max=1000,
                    tooltip="Noise levels at which to ask, 1 to 1000, spread evenly over the timesteps. More is surer "
                    "and slower: each costs about as much as a step. Without effect where the samples carry scores.",
                ),
                seed_input("seed", "Seed of the noise under which the samples are compared, 0 to 2⁶⁴ − 1."),
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

    validate_inputs = classmethod(Validation("MCDM_Choose", "count", check_choose_node))

    @classmethod
    def execute(cls, experts: Experts, samples: dict, count: int, levels: int, seed: int) -> io.NodeOutput:
        """Choose."""
        return io.NodeOutput(*choose_samples(experts, samples, count, levels, seed))

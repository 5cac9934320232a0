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
                "Corrects what another sampler makes, at every noise level: x += δ·score + √(2δ)·z with δ = r·σ², as "
                "often as asked (Du et al., 2023). Samples of a product, which the paper's Eq. 10 alone misses, come "
                "closer to what all experts find likely together. Each correction costs as much as a step."
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
                    tooltip="How many at each noise level but the last, 0 to 100. 0 is the sampler itself, bit for "
                    "bit. The time grows by as many steps: 1 doubles it.",
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
                "Samples ancestrally with the pictures of the batch as particles: those that the experts find likelier "
                "together go on as several, others end (Skreta et al., 2025). With ε_c the combination of the paper's "
                "Eq. 10 and c_k its coefficients, Δlog w = (h/σ)(‖ε_c‖² − Σ c_k ‖ε_k‖²). Works with Product Guider "
                "alone, and costs no more passes than ancestral sampling."
            ),
            inputs=[
                resample_input(
                    "Share of the batch, 0 to 1: particles are resampled where their effective number falls "
                    "below it. 0 only at the end, 1 after every step."
                ),
                limit_input(
                    "Largest change of a log weight in one step, 0.001 to 1000. Pictures have so many values "
                    "that without a limit one particle takes all; lower keeps more of them."
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
                "Keeps the samples that every expert finds likelier with its condition than without, by the lift E[‖ε "
                "− ε(∅)‖² − ‖ε − ε_i‖²] of noised samples (CompLift, 2025): ranked by the smallest lift of any expert "
                "of the product (Eq. 10 of the paper). Asks every condition and null once at each noise level, or "
                "nothing where the samples carry the scores of their run."
            ),
            inputs=[
                ExpertChain.Input(
                    "experts",
                    tooltip="The chain that made the samples. Experts of weight 0 say nothing, those of negative "
                    "weight are to lower; all others need their null.",
                ),
                io.Latent.Input(
                    "samples",
                    tooltip="The finished samples, at least two in one batch. Where they come from a run with `scores` "
                    "on, of this chain, the experts are not asked again.",
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
                seed_input("seed", "Seed of the noise, 0 to 2⁶⁴ − 1; all samples are asked about under the same."),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The samples kept, the best first."),
                io.String.Output(
                    display_name="scores",
                    tooltip="A line for each sample, the best first: its place in the batch, its smallest lift, and "
                    "that of each expert. Above 0 is lifted.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("MCDM_Choose", "count", check_choose_node))

    @classmethod
    def execute(cls, experts: Experts, samples: dict, count: int, levels: int, seed: int) -> io.NodeOutput:
        """Choose."""
        return io.NodeOutput(*choose_samples(experts, samples, count, levels, seed))

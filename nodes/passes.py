"""Nodes in a chain of experts that change, by noise level, the experts' weights and which predictions are asked."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..mcdm_core.product.methods.passes import MOST_STEPS
from ..mcdm_core.product.methods.passes import Passes as PassesSetting
from ..mcdm_core.product.terms.curve import parse_curve
from .host.chain import node_ids
from .host.chain.expert_chain import Experts, with_setting
from .host.prompt.chain_checks import check_schedule, check_setting
from .host.prompt.validation import Validation
from .widgets import ExpertChain, aliases, level_input, progress_input


class Schedule(io.ComfyNode):
    """Gives the last expert of a chain noise levels and a weight curve."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=node_ids.SCHEDULE,
            display_name="Schedule (Expert)",
            category="mcdm/product",
            search_aliases=aliases(
                "guidance schedule, cfg curve, weight curve, boundary, refiner, high noise, low noise, window"
            ),
            description=(
                "Lets the last expert of a chain hand over to another at a noise level, or its weight rise and fall "
                "during the run: w_i of the paper's Eq. 10 times a factor. Chain it behind that expert."
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain; its last expert is given the schedule."),
                level_input(
                    "sigma_start",
                    "Noise level σ below which the expert takes part, 0 to 100000, as SIGMAS of the first expert have "
                    "it; 0 is no limit.",
                ),
                level_input(
                    "sigma_end",
                    "Noise level σ down to which the expert takes part, 0 to 100000; 0 is no limit. Two experts with "
                    "one level as their end and their start hand over there.",
                ),
                io.String.Input(
                    "weight_curve",
                    default="",
                    tooltip='Factors of the weight during the run: pairs of a share of the sampling and a factor, "0: '
                    '1, 0.5: 2, 1: 0", linear between them. Empty: 1 throughout.',
                ),
            ],
            outputs=[ExpertChain.Output(display_name="experts", tooltip="The chain with the schedule.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("experts", check_schedule))

    @classmethod
    def execute(cls, experts: Experts, sigma_start: float, sigma_end: float, weight_curve: str) -> io.NodeOutput:
        """Set the schedule."""
        *before, last = experts
        curve = parse_curve(weight_curve)
        last = replace(last, sigma_start=sigma_start, sigma_end=sigma_end, weight_curve=curve)
        return io.NodeOutput((*before, last))


class Passes(io.ComfyNode):
    """Has a chain sampled with fewer passes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=f"{node_ids.PREFIX}{PassesSetting.name}",
            display_name="Fewer Passes",
            category="mcdm/product",
            search_aliases=aliases(
                "faster, more speed, speed up, cache, guidance interval, guidance limit, skip cfg, adaptive guidance, "
                "skip negative, LoRA switch, alternate, take turns"
            ),
            description=(
                "A third fewer passes: skips negatives that hardly change (Adaptive Guidance, 2023), limits guidance "
                "to the levels where it matters (Kynkäänniemi et al. 2024), or lets LoRAs alternate (LoRA Switch, "
                "2024). Connect it between a chain and its guider, that of the paper's Eq. 10 or of Own-Negative "
                "Guider. The log says what was saved."
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain of Diffusion Expert nodes."),
                progress_input(
                    "start",
                    0.1,
                    "Share of the sampling, 0 to 1, after which the product is guided; 0 from the beginning. Outside "
                    "the interval nothing is guided, and no negative is asked.",
                ),
                progress_input(
                    "end",
                    0.9,
                    "Share of the sampling, 0 to 1, after which the product is no longer guided; 1 to the end.",
                ),
                level_input(
                    "sigma_start",
                    "Noise level σ below which the product is guided, 0 to 100000, in place of start or beside it; 0 "
                    "is no limit.",
                ),
                level_input(
                    "sigma_end",
                    "Noise level σ down to which the product is guided, 0 to 100000, in place of end or beside it; 0 "
                    "is no limit.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.98,
                    min=0.0,
                    max=1.0,
                    step=0.005,
                    round=0.0001,
                    tooltip="How alike an expert's predictions for its prompt and for its negative have to be for the "
                    "negative to be skipped (their cosine, 0 to 1); their last difference stands in for it. Lower "
                    "saves more; 1 skips none.",
                ),
                io.Int.Input(
                    "refresh",
                    default=4,
                    min=1,
                    max=MOST_STEPS,
                    tooltip="Everything is asked again every so many steps, 1 to 100. Higher saves more; 1 skips only "
                    "what the interval does.",
                ),
                io.Int.Input(
                    "switch",
                    default=0,
                    min=0,
                    max=MOST_STEPS,
                    optional=True,
                    tooltip="LoRA Switch: experts of positive weight take turns along the chain, each for so many "
                    "steps, 1 to 100, so that only one is asked at a time. 0: they act together.",
                ),
            ],
            outputs=[ExpertChain.Output(display_name="experts", tooltip="The chain, to be sampled with fewer passes.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("experts", check_setting))

    @classmethod
    def execute(cls, experts: Experts, **chosen: Any) -> io.NodeOutput:
        """Set what is left out; the inputs are the fields of the setting."""
        return io.NodeOutput(with_setting(experts, PassesSetting(**chosen)))

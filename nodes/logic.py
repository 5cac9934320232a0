"""The node for AND, OR and NOT of experts."""

from comfy_api.latest import io

from ..mcdm_core.product.methods.logic import OPERATIONS, Logic
from .host.prompt.sampler_checks import check_logic_node
from .host.prompt.validation import Validation
from .host.samplers.logic import logic_sampler
from .widgets import aliases


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
        return io.NodeOutput(logic_sampler(logic))

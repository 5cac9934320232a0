"""The node for AND, OR and NOT of experts, and for samples that all experts find equally likely."""

from comfy_api.latest import io

from ..mcdm_core.product.logic import OPERATIONS, Logic
from .host.prompt.sampler_checks import check_logic_node
from .host.prompt.validation import Validation
from .host.samplers.logic import logic_sampler
from .newer_schema import search_aliases
from .widgets import limit_input, resample_input


class LogicSampler(io.ComfyNode):
    """MCDM_Logic."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_Logic",
            display_name="Logic Sampler",
            category="mcdm/sampling",
            **search_aliases(
                "AND, OR, NOT, union, intersection, Dombi, SuperDiff, dynamic negative guidance, composable"
            ),
            description=(
                "Samples what all experts find likely (AND), any of them (OR) or all equally (equal), without what "
                "those of negative weight find likely (NOT), instead of the product of the paper's Eq. 10. Each "
                "expert's density is tracked along ancestral steps, and says what it counts: ω_i = ∂ log r/∂ log p_i, "
                "which equal solves for instead. Works with Product Guider alone, and costs no more passes than "
                "ancestral sampling."
            ),
            inputs=[
                io.Combo.Input(
                    "operation",
                    options=[*OPERATIONS],
                    tooltip="What the experts of positive weight make. and: only what all find likely. or: each "
                    "picture what one of them finds likely. equal: what all find equally likely, solved for at every "
                    "step. Without effect for an expert alone.",
                ),
                io.Float.Input(
                    "sharpness",
                    default=1.0,
                    min=0.0001,
                    max=100.0,
                    step=0.01,
                    round=0.0001,
                    tooltip="λ, 0.0001 to 100. With or, 1 is the mixture. Pictures have so many values that at 1 one "
                    "expert has almost every step to itself, with and the least likely one; 0.01 to 0.1 share steps. "
                    "Without effect on equal.",
                ),
                io.Float.Input(
                    "prior",
                    default=0.5,
                    min=0.001,
                    max=1.0,
                    step=0.01,
                    round=0.001,
                    tooltip="What share of the pictures an expert of negative weight is taken to be the cause of, "
                    "0.001 to 1. Higher excludes more. Without effect where all weights are positive.",
                ),
                io.Float.Input(
                    "largest",
                    default=2.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.001,
                    tooltip="What the experts of negative weight count at most together, 0 to 100; at 0 they exclude "
                    "nothing. Near what they find likely it is reached, far from it they count nothing.",
                ),
                io.Boolean.Input(
                    "corrected",
                    default=False,
                    tooltip="On: the pictures of the batch are particles, as in Particle Sampler, which mends what "
                    "ancestral steps miss of and. Needs 2 pictures or more, some of which end as copies. Off: each is "
                    "a sample of its own, as equal needs.",
                ),
                resample_input(
                    "Where corrected: share of the batch, 0 to 1; particles are resampled where their "
                    "effective number falls below it. 0 only at the end, 1 after every step."
                ),
                limit_input(
                    "Where corrected: largest change of a log weight in one step, 0.001 to 1000. Lower keeps "
                    "more of the particles."
                ),
            ],
            outputs=[io.Sampler.Output(display_name="sampler", tooltip="To SamplerCustomAdvanced or Inspect Product.")],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("MCDM_Logic", "operation", check_logic_node))

    @classmethod
    def execute(
        cls,
        operation: str,
        sharpness: float,
        prior: float,
        largest: float,
        corrected: bool,
        resample_below: float,
        limit: float,
    ) -> io.NodeOutput:
        """Make the sampler."""
        logic = Logic(operation=operation, sharpness=sharpness, excluded=prior, largest=largest)
        return io.NodeOutput(logic_sampler(logic, corrected, resample_below, limit))

"""The node that chooses among finished samples."""

from comfy_api.latest import io

from .host.chain.expert_chain import Experts
from .host.pictures.choose import choose_samples
from .host.prompt.sampler_checks import check_choose_node
from .host.prompt.validation import Validation
from .widgets import ExpertChain, aliases


class Choose(io.ComfyNode):
    """Keeps the samples that best match every prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_Choose",
            display_name="Choose Samples",
            category="mcdm/analysis",
            search_aliases=aliases("best of n, rejection, CompLift, lift score, rank, filter batch"),
            description=(
                "Keeps the pictures that best match every prompt, by the `scores` of their run, at no pass. Ranks them "
                "by the smallest lift of any expert of the product (Eq. 10 of the paper), E[‖x_0 − D(∅)‖² − ‖x_0 − "
                "D_i‖²] over the steps (CompLift, 2025)."
            ),
            inputs=[
                ExpertChain.Input(
                    "experts",
                    tooltip="The chain that made the samples. Experts of weight 0 don't judge; all others are asked "
                    "their negative in the run. A negative weight turns an expert's lift around.",
                ),
                io.Latent.Input(
                    "samples",
                    tooltip="The finished samples, at least two in one batch, straight from a run of this chain with "
                    "`scores` on.",
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="How many to keep, 1 to 4096, at most as many as there are; the best comes first.",
                ),
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

    validate_inputs = classmethod(Validation("count", check_choose_node))

    @classmethod
    def execute(cls, experts: Experts, samples: dict, count: int) -> io.NodeOutput:
        """Choose."""
        return io.NodeOutput(*choose_samples(experts, samples, count))

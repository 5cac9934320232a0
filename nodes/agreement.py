"""The node that shares out the experts' weights place by place, most to the expert that changes a place most."""

from comfy_api.latest import io

from ..mcdm_core.product.agreement import LARGEST_PATCH, MOST_TAU, Agreement
from .host.chain.expert_chain import Experts, with_setting
from .host.prompt.chain_checks import check_setting
from .host.prompt.validation import Validation
from .newer_schema import search_aliases
from .types import ExpertChain
from .widgets import level_input, progress_input


class AgreementWeights(io.ComfyNode):
    """MCDM_AgreementWeights."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_AgreementWeights",
            display_name="Agreement Weights",
            category="mcdm/product",
            is_experimental=True,
            **search_aliases("multi lora, lora composition, LoRAtorio, spatial weights, automatic mask, regional"),
            description=(
                "Gives most weight, at each place, to the model that changes the picture most there (LoRAtorio, 2025, "
                "on the paper's Eq. 10). Does not stop bleeding. w_i(p) = W₊ w_i e^(−τ cos_i(p)) / Σ w_k e^(−τ "
                "cos_k(p)), with the cosine of ε_i and U in a patch. Connect it between a chain and its guider; "
                "Inspect Product shows the weights."
            ),
            inputs=[
                ExpertChain.Input("experts", tooltip="The chain of Diffusion Expert nodes."),
                io.Float.Input(
                    "tau",
                    default=300.0,
                    min=0.0,
                    max=MOST_TAU,
                    step=10.0,
                    round=0.001,
                    tooltip="How strongly the weights differ from place to place, 0 to 10000: 0 leaves them as they "
                    "are, large values give a place to one expert alone. Cosines differ by a few thousandths, so it "
                    "takes hundreds (τ).",
                ),
                io.Int.Input(
                    "patch",
                    default=5,
                    min=1,
                    max=LARGEST_PATCH,
                    step=2,
                    tooltip="Side of the square in which cosines are taken, and averaged again, in values of the "
                    "latent: odd, 1 to 255. Larger makes smoother, coarser weights.",
                ),
                progress_input(
                    "start",
                    0.0,
                    "Share of the sampling, 0 to 1, after which weights are shared out; 0 from the beginning. Outside "
                    "start and end the weights stay as they are.",
                ),
                progress_input(
                    "end",
                    0.8,
                    "Share of the sampling, 0 to 1, after which weights are no longer shared out; 1 to the end, which "
                    "draws speckles.",
                ),
                level_input(
                    "sigma_start",
                    "Noise level σ below which weights are shared out, 0 to 100000, in place of start or beside it; 0 "
                    "is no limit.",
                ),
                level_input(
                    "sigma_end",
                    "Noise level σ down to which weights are shared out, 0 to 100000, in place of end or beside it; 0 "
                    "is no limit.",
                ),
            ],
            outputs=[
                ExpertChain.Output(display_name="experts", tooltip="The chain, to be sampled with weights by place.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("MCDM_AgreementWeights", "experts", check_setting))

    @classmethod
    def execute(
        cls, experts: Experts, tau: float, patch: int, start: float, end: float, sigma_start: float, sigma_end: float
    ) -> io.NodeOutput:
        """Set the policy."""
        window = {"start": start, "end": end, "sigma_start": sigma_start, "sigma_end": sigma_end}
        return io.NodeOutput(with_setting(experts, Agreement(tau=tau, patch=patch, **window)))

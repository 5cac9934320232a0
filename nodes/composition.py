"""Nodes that combine experts in other ways: the product as a MODEL, and the own-null rule."""

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..mcdm_core.product.own_null import OWN_NULL
from .host.expert_chain import Experts
from .host.guider import OwnNullGuider as HostOwnNullGuider
from .host.post_checks import check_chain
from .host.product_model import product_model
from .types import ExpertChain


class ProductModel(io.ComfyNode):
    """MCDM_ProductModel."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_ProductModel",
            display_name="Product as Model",
            category="mcdm/product",
            description=(
                "Makes a MODEL that any sampler node samples as a product of experts, by Eq. 10 of the paper: "
                "KSampler, a detailer, a tiled upscaler. The positive, negative and cfg of that node are the "
                "condition, the null and the weight of the model given here, the first and reference expert."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The reference expert: it decides latents, noise levels and previews. What is attached to "
                    "the output belongs to it as well.",
                ),
                io.Float.Input(
                    "reliability",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    round=0.001,
                    tooltip="The model's a, 0 to 100, relative to the other experts': its share in the unconditional "
                    "estimate U. At 0 the sampler's negative is not needed.",
                ),
                ExpertChain.Input(
                    "experts",
                    tooltip="The other experts, a chain of Diffusion Expert nodes. Their weights add to the sampler's "
                    "cfg: at cfg 4, one more expert of weight 3 makes a guidance of 7.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The product, for any node that samples a MODEL.")],
        )

    @classmethod
    def execute(cls, model: ModelPatcher, reliability: float, experts: Experts) -> io.NodeOutput:
        """Make the model."""
        return io.NodeOutput(product_model(model, reliability, experts))


class OwnNullGuider(io.ComfyNode):
    """MCDM_OwnNullGuider."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the base class."""
        return io.Schema(
            node_id="MCDM_OwnNullGuider",
            display_name="Own-Null Guider",
            category="mcdm/product",
            description=(
                "Combines the experts by composable diffusion (AND; Liu et al. 2022) across models: "
                "ε = Σ a_j ε_j(z_t, ∅, t) + Σ w_i (ε_i(z_t, x_i, t) − ε_i(z_t, ∅, t)). Unlike in the paper's Eq. 10, "
                "each condition is measured against its own expert's null."
            ),
            inputs=[
                ExpertChain.Input(
                    "experts",
                    tooltip="The chain of Diffusion Expert nodes. An expert needs its null unless its weight is its "
                    "share of the reliabilities.",
                )
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="To SamplerCustomAdvanced.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, experts: None) -> bool | str:
        """Refuse chains that cannot be combined."""
        return check_chain(cls.hidden.unique_id, OWN_NULL)

    @classmethod
    def execute(cls, experts: Experts) -> io.NodeOutput:
        """Make the guider."""
        return io.NodeOutput(HostOwnNullGuider(experts))

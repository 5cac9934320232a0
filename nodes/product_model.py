"""The node that makes a product a MODEL."""

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from .host.chain import node_ids
from .host.chain.expert_chain import ExpertInput, Experts
from .host.prompt.faults import Fault
from .host.prompt.queued_prompt import QueuedNode
from .host.prompt.space_checks import check_latents, check_space
from .host.prompt.validation import Validation
from .host.run.product_model import product_model
from .widgets import ExpertChain, aliases, reliability_input, vae_input


def _check(node: QueuedNode) -> Fault | None:
    """Whether the model lacks a VAE, or the latent beside a sampler doesn't fit the experts."""
    return check_space(node) or check_latents(node)


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

    validate_inputs = classmethod(Validation("model", _check))

    @classmethod
    def execute(
        cls, model: ModelPatcher, reliability: float, experts: Experts, vae: VAE | None = None
    ) -> io.NodeOutput:
        """Make the model."""
        node = cls.hidden and cls.hidden.unique_id
        reference = ExpertInput(model, weight=0.0, reliability=reliability, vae=vae, node=node)
        return io.NodeOutput(product_model(reference, experts))

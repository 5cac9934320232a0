"""The node that saves a product as a LoRA, beside core's Train LoRA."""

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..mcdm_core.training.config import MOST_RANK
from .host.chain.expert_chain import Conditioning, Experts
from .host.distil.learning import DTYPES, GUIDERS, Learning
from .host.distil.training import train
from .host.prompt.chain_checks import check_chain
from .host.prompt.faults import Fault
from .host.prompt.queued_prompt import QueuedNode
from .host.prompt.validation import Validation
from .host.run.guider import ProductGuider
from .widgets import ExpertChain, aliases, seed_input


def _check(node: QueuedNode) -> Fault | None:
    """Whether the experts can be combined by the rule that is chosen."""
    rule = node.inputs.get("rule")
    return check_chain(node, (GUIDERS[rule] if isinstance(rule, str) and rule in GUIDERS else ProductGuider).rule)


class TrainLora(io.ComfyNode):
    """Trains a LoRA that answers as a product does."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MCDM_TrainLora",
            display_name="Train LoRA on Product",
            category="mcdm/training",
            search_aliases=aliases(
                "bake, bake lora, merge, save the mix, distil, distill, merge loras, save merged model, combine loras "
                "into one"
            ),
            description=(
                "Saves the mix: one model, with this LoRA and one prompt, at cfg 1, makes the pictures of all experts "
                "together, one pass a step, without this pack. The experts sample (Eq. 10 of the paper), and the LoRA "
                "learns what they answer at each step. Save LoRA Weights, Load LoRA Model and Plot Loss Graph go on "
                "from it."
            ),
            is_input_list=True,
            inputs=[
                ExpertChain.Input(
                    "experts",
                    tooltip="The chain of Diffusion Expert nodes, as it goes into a guider. A list of prompts before "
                    "them makes a list of chains: the LoRA learns them all.",
                ),
                io.Model.Input(
                    "model",
                    tooltip="What the LoRA is for: a MODEL of the experts' family, mostly their checkpoint without any "
                    "LoRA. It stays as it is.",
                ),
                io.Conditioning.Input(
                    "positive",
                    tooltip="What this one model is told in place of all that the experts are told; a list, if the "
                    "chains are one, in the same order.",
                ),
                io.Latent.Input("latents", tooltip="An empty latent of the size to learn; its batch doesn't count."),
                io.Sigmas.Input(
                    "sigmas",
                    tooltip="Noise levels, as they go into the sampler, made for the first expert. The LoRA learns "
                    "levels between them, in half as many steps up to as many.",
                ),
                io.Combo.Input(
                    "rule",
                    options=[*GUIDERS],
                    tooltip="How the experts are combined. product: Product Guider, Eq. 10. own-negative: Own-Negative "
                    "Guider.",
                ),
                io.Int.Input(
                    "steps",
                    default=800,
                    min=1,
                    max=100000,
                    tooltip="How often the LoRA is changed, 1 to 100000. The loss tells when more is of no use.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="Samples of a step, 1 to 4096. More learns more evenly and takes more memory.",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.0005,
                    min=0.0000001,
                    max=1.0,
                    step=0.0000001,
                    tooltip="How far a step goes at most, up to 1. It rises at first, and falls in the second half.",
                ),
                io.Int.Input(
                    "rank",
                    default=16,
                    min=1,
                    max=MOST_RANK,
                    tooltip=f"Rank of the LoRA, 1 to {MOST_RANK}: how much it can hold, and how large its file is.",
                ),
                seed_input(
                    "seed",
                    "Seed of all that is drawn, 0 to 2⁶⁴ − 1. A cancelled run goes on only with the same seed.",
                    io.ControlAfterGenerate.fixed,
                ),
                io.Combo.Input(
                    "training_dtype",
                    options=[*DTYPES, "none"],
                    tooltip="In which the model computes while it learns. none: its own, which fp16 is too coarse for.",
                ),
                io.Combo.Input("lora_dtype", options=[*DTYPES], tooltip="Of the LoRA's file."),
                io.String.Input(
                    "run_name",
                    default="mix",
                    tooltip="A cancelled run is kept under this name, in mcdm_loras of ComfyUI's folder of outputs.",
                ),
                io.Boolean.Input(
                    "resume",
                    default=True,
                    tooltip="On: goes on where a cancelled run of this name stopped, to the same LoRA as if it hadn't. "
                    "Off: begins anew, and drops that run.",
                ),
            ],
            outputs=[
                io.Custom("LORA_MODEL").Output(
                    display_name="lora", tooltip="To Save LoRA Weights, and to Load LoRA Model."
                ),
                io.Custom("LOSS_MAP").Output(display_name="loss_map", tooltip="To Plot Loss Graph."),
                io.Int.Output(display_name="steps", tooltip="Steps that were made, for the name of the file."),
                io.String.Output(
                    display_name="notes",
                    tooltip="What the file can't hold: how it is used, and what it stands for. To Preview as Text.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    validate_inputs = classmethod(Validation("experts", _check))

    @classmethod
    def execute(
        cls,
        experts: list[Experts],
        model: list[ModelPatcher],
        positive: list[Conditioning],
        latents: list[dict],
        sigmas: list[torch.Tensor],
        rule: list[str],
        steps: list[int],
        batch_size: list[int],
        learning_rate: list[float],
        rank: list[int],
        seed: list[int],
        training_dtype: list[str],
        lora_dtype: list[str],
        run_name: list[str],
        resume: list[bool],
    ) -> io.NodeOutput:
        """Train."""
        learning = Learning(
            rule=rule[0],
            steps=steps[0],
            batch_size=batch_size[0],
            learning_rate=learning_rate[0],
            rank=rank[0],
            seed=seed[0],
            training_dtype=training_dtype[0],
            lora_dtype=lora_dtype[0],
            name=run_name[0],
            resume=resume[0],
        )
        trained = train(experts, model[0], positive, latents[0], sigmas[0], learning)
        return io.NodeOutput(trained.lora, {"loss": trained.losses}, learning.steps, trained.notes)

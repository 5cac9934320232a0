"""Refusals of a training, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....mcdm_core.product.terms.term_numbers import TermError
from ..chain.expert_chain import PRODUCT_KEY, Conditioning, Experts, WiredTerm
from ..comfyui.latents import parts_of
from ..evaluation.model_forms import form_of
from ..run.refusals import checked_spaces
from ..spaces.run_spaces import space_indices, space_name
from .learning import DTYPES, GUIDERS, Learning

_NOISE_ALONE = 10.0  # a noise level from which on next to nothing is left of a picture


class _Student(WiredTerm):
    """The student as the checks of a run know experts."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return "the student"


def check_lists(chains: Sequence[Experts], prompts: Sequence[Conditioning], learning: Learning) -> None:
    """Refuse what no training could begin with.

    Args:
        chains: The experts with what they are told, for each prompt.
        prompts: What the student is told.
        learning: How it learns, of which links may bring what no widget takes.

    Raises:
        ValueError: A list is empty, they are of different lengths, there are no steps, samples or ranks, or a rule or
            dtype isn't known.
    """
    for name in ("steps", "batch_size", "rank"):
        if (given := getattr(learning, name)) < 1:
            raise ValueError(f"Expected 1 or more for {name} and got {given}; raise it.")
    for name, known in (("rule", GUIDERS), ("training_dtype", [*DTYPES, "none"]), ("lora_dtype", DTYPES)):
        if (given := getattr(learning, name)) not in known:
            raise ValueError(f"Expected {' or '.join(known)} for {name} and got {given}; choose one of these.")
    if not prompts or not chains or not all(prompts):
        raise ValueError(
            "Expected a prompt for the student that says what all experts are told, and got none; connect it to "
            "positive."
        )
    if len(chains) != len(prompts):
        raise ValueError(
            f"Expected as many prompts for the student as chains of experts, {len(chains)}, and got {len(prompts)}; "
            "make both from lists of equal length."
        )


def check_student(
    chains: Sequence[Experts], student: ModelPatcher, prompts: Sequence[Conditioning], latent: Any
) -> None:
    """Refuse a student that can't learn what the experts make.

    Raises:
        ValueError: It is a product, makes other samples than the experts, or can't read its prompt.
    """
    if student.get_wrappers(WrappersMP.OUTER_SAMPLE, PRODUCT_KEY):
        raise ValueError(
            "Expected a single model as the student and got a product from Product as Model, which no LoRA belongs to; "
            "connect the MODEL that the LoRA is for."
        )
    if len(parts := parts_of(latent)) > 1:
        raise ValueError(
            f"Expected a latent of pictures or of videos alone and got one of {len(parts)} parts; connect an empty "
            "latent of one kind."
        )
    for experts, prompt in zip(chains, prompts, strict=True):
        learning = _Student(student, prompt, weight=1.0, reliability=0.0)
        if any(space_indices((*experts, learning))):
            spaces = " and ".join(dict.fromkeys(space_name(expert.model) for expert in experts))
            raise ValueError(
                f"Expected experts and a student of one latent space, and the experts work on {spaces} and the student "
                f"on {space_name(student)}; choose one of the experts' models as the student, or another of their "
                "family."
            )
        try:
            checked_spaces((learning,), parts[0])
        except TermError as error:
            raise ValueError(str(error)) from None  # no expert's node is at fault


def check_levels(experts: Experts, sigmas: Tensor) -> None:
    """Refuse noise levels that don't begin with noise alone, or of no step.

    Raises:
        ValueError: They don't.
    """
    if len(sigmas) < 2:
        raise ValueError(
            f"Expected the noise levels of a run of 1 step or more and got {len(sigmas)}; connect a scheduler's, whole."
        )
    form = form_of(experts[0].model.get_model_object("model_sampling"), (1, 1))
    levels = [sigma for sigma in sigmas.tolist() if sigma > 0]
    if not levels or form.unbounded(levels[0]) < min(form.unbounded(form.sigma_max) / 2, _NOISE_ALONE):
        got = f"{levels[0]:.4g}" if levels else "none"
        raise ValueError(
            f"Expected noise levels from the highest, {form.sigma_max:.4g}, down, since the LoRA learns to make "
            f"pictures of noise alone, and got {got} as the first; choose a scheduler that begins there, "
            "such as normal, take more steps, or set its denoise to 1."
        )

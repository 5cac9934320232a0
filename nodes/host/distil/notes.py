"""What a LoRA's file can't hold, as a text for whoever uses it."""

from __future__ import annotations

from collections.abc import Sequence

from ....mcdm_core.distil.config import DistilConfig
from ..chain.expert_chain import Experts
from ..chain.titles import shown_names


def notes_on(chains: Sequence[Experts], config: DistilConfig, levels: tuple[float, float], shape: Sequence[int]) -> str:
    """How the LoRA is used, and what it stands for.

    Args:
        chains: The experts of each prompt.
        config: How it was trained.
        levels: The highest and the lowest noise level that it knows, those of x0 + σ·n.
        shape: Shape of a sample, (C, …).
    """
    highest, lowest = levels
    steps = config.trajectories
    named = zip(shown_names(chains[0]), chains[0], strict=True)
    experts = ", ".join(f"{name} at weight {expert.weight:g}" for name, expert in named)
    prompts = "its prompt" if len(chains) == 1 else f"one of its {len(chains)} prompts, or one like them"
    return "\n".join(
        [
            f"Load it on the MODEL that it was trained on (model) at strength 1, with {prompts} (positive).",
            "Sample at cfg 1: the experts' guidance and negatives are in it, and a negative has no effect.",
            f"It knows noise levels from {highest:.4g} to {lowest:.4g}, in {steps.fewest_steps} to "
            f"{steps.most_steps} steps without added noise: euler or ddim; others are a trial.",
            f"It was trained on samples of shape {'×'.join(map(str, shape))}; other sizes are a trial.",
            f"It stands for a product of {len(chains[0])} experts: {experts}.",
            f"Trained for {config.optimizer.steps} steps of {config.optimizer.batch_size}, rank {config.rank}, seed "
            f"{config.optimizer.seed}.",
        ]
    )

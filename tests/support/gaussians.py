"""Gaussian experts for tests, beside `studies.gaussian`."""

import torch
from torch import Tensor, nn

from mcdm_core import Expert, Flow, Schedule, Term, space_timesteps
from studies.gaussian import gaussian_expert, label

NULL = 3


def recorded(expert: Expert) -> Expert:
    """The Gaussian expert, with the rows of each call in `network.batches` and its noise level in `network.levels`."""
    network = expert.network
    network.batches, network.levels = [], []

    def record(network: nn.Module, arguments: tuple[Tensor, Tensor]) -> None:
        x_t, t = arguments
        network.batches.append(len(x_t))
        network.levels.append(network.schedule.sigma(t).flatten()[0].item())

    network.register_forward_pre_hook(record)
    return expert


def respaced(schedule: Schedule, spacing: str) -> Schedule:
    """The process that visits only some timesteps of a schedule."""
    return Schedule(schedule.alphas_cumprod[space_timesteps(spacing, len(schedule))])


def samples(*values: float) -> Tensor:
    """One-pixel samples of one channel, shape (B, 1, 1, 1)."""
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


def experts(*predictions: str, channels: int) -> list[Expert]:
    """Gaussian experts, each on a network of its own, with three conditions and a different null, `NULL`."""
    found = []
    for seed, name in enumerate(predictions):
        generator = torch.Generator().manual_seed(seed)
        means = torch.randn(4, channels, generator=generator, dtype=torch.float64)
        variances = 0.2 + torch.rand(4, channels, generator=generator, dtype=torch.float64)
        schedule = Flow() if name == "flow" else Schedule.linear()
        named = {"name": f"expert {seed + 1}"}
        found.append(recorded(gaussian_expert(means.tolist(), variances.tolist(), schedule, name, **named)))
    return found


def chain(
    *predictions: str,
    channels: int,
    weights: tuple[float, ...] = (2.0, 1.5, -0.4),
    masks: tuple[Tensor | None, ...] = (None, None, None),
    **shared: object,
) -> list[Term]:
    """Three experts on two networks: the third shares network and null with the first."""
    one, two = experts(*(predictions or ("eps", "v")), channels=channels)
    bare = [(one, 0), (two, 1), (one, 2)]
    return [
        Term(expert, label(k), label(NULL), weight=w, reliability=a, mask=mask, **shared)
        for (expert, k), w, a, mask in zip(bare, weights, (1.0, 2.0, 0.5), masks, strict=True)
    ]


def rows(terms: list[Term]) -> int:
    """Number of rows that the networks of a chain have been asked."""
    return sum(sum(expert.network.batches) for expert in {id(term.expert): term.expert for term in terms}.values())

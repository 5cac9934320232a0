"""A product of the core as teacher, and one of its experts as student."""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from .. import product
from ..diffusion.schedule import sigma_at_progress
from ..expert.condition import Condition, cat
from ..expert.expert import Expert
from ..product.denoisers.denoiser import ProductDenoiser
from ..product.methods.method import Setting
from ..product.rules.eq10 import combined_epsilon
from ..product.rules.rule import Rule
from ..product.terms.term import Term
from .roles import Within
from .trajectories import highest

_LOGGER = logging.getLogger(product.__name__)


class ProductTeacher:
    """The product as `Teacher`.

    Args:
        terms: The experts; each of their conditions, nulls and masks has a row for each prompt, or one for all.
        rule: How predictions are combined.
        settings: What is chosen beyond the paper.
        autocast: Whether to use bfloat16 for convolutions and matrix products.
    """

    def __init__(self, terms: Sequence[Term], rule: Rule, settings: Sequence[Setting] = (), autocast: bool = False):
        self.terms = terms
        self.rule = rule
        self.settings = settings
        self.autocast = autocast
        self._is_heard = False

    def __call__(self, prompts: Tensor, sigmas: Sequence[float], within: Within) -> None:
        """Do `within` once, with a denoiser of the product for all samples; a `Teacher`.

        Raises:
            ValueError: The terms cannot be combined.
        """
        autocast = torch.autocast(prompts.device.type, torch.bfloat16, enabled=self.autocast)
        with quieted(_LOGGER, self._is_heard), torch.no_grad(), autocast:
            denoiser = ProductDenoiser([told(term, prompts) for term in self.terms], self.rule, self.settings)
            with denoiser.running(sigmas):
                within(denoiser, torch.arange(len(prompts)))
        self._is_heard = True

    def level(self, progress: float) -> float:
        """Noise level of the first term's expert at a progress of the sampling, 0…1."""
        return sigma_at_progress(self.terms[0].expert.schedule, progress)

    def check(self, shape: Sequence[int]) -> None:
        """Refuse what could not be combined, before any network is called.

        Args:
            shape: Shape of a sample.

        Raises:
            ValueError: There are no terms, they are of several spaces, or at some level none of them acts or the active
                ones cannot be combined.
        """
        with quieted(_LOGGER, True):
            first = [told(term, torch.zeros(1, dtype=torch.int64)) for term in self.terms]
            denoiser = ProductDenoiser(first, self.rule, self.settings)
            denoiser.check_run(torch.empty(1, *shape), [highest(self.level), 0.0])


@contextmanager
def quieted(logger: logging.Logger, quiet: bool) -> Iterator[None]:
    """While it lasts, a logger says errors alone, so that one of hundreds of runs warns of a mask.

    Args:
        logger: The logger.
        quiet: Whether it does; else it says what it always does.
    """
    level = logger.level
    if quiet:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class ExpertStudent:
    """An expert as `Student`; what learns is its network.

    At a weight w other than 1 it answers x0(∅) + w (x0(c) − x0(∅)), as in classifier-free guidance.

    Args:
        expert: The expert.
        conditions: Its conditions, a row for each prompt, or one for all.
        autocast: See `ProductTeacher`.
        null: Its null, one row; needed where the weight isn't 1.
        weight: See `DistilConfig`.
    """

    def __init__(
        self,
        expert: Expert,
        conditions: Condition,
        autocast: bool = False,
        null: Condition | None = None,
        weight: float = 1.0,
    ):
        self.expert = copy.copy(expert)
        self.conditions = conditions
        self.autocast = autocast
        self.null = null
        self.weight = weight

    def __call__(self, network: nn.Module, x: Tensor, sigma: Tensor, prompts: Tensor) -> Tensor:
        """x0 that the expert predicts with this network, each sample under its prompt's condition, shape of x."""
        return self.predict(network, x, sigma, self.conditions.take(prompts))

    def predict(self, network: nn.Module, x: Tensor, sigma: Tensor, conditions: Condition) -> Tensor:
        """x0 that the expert predicts with this network, each sample under its own row of conditions, shape of x."""
        self.expert.network = network
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            if self.weight == 1:
                return self.expert.predict_x0(x, sigma, conditions)
            assert self.null is not None  # `check_weight`
            both = cat([conditions, self.null.expand(len(x))])
            asked, null = self.expert.predict_x0(torch.cat([x, x]), torch.cat([sigma, sigma]), both).chunk(2)
            return combined_epsilon([asked], [null], [self.weight], [1.0])


def rows_of(terms: Sequence[Term]) -> int:
    """Number of prompts that the conditions and masks of terms are for, 1 where they are for all.

    Raises:
        ValueError: They are for different numbers.
    """
    found = {rows: term.label for term in terms for rows in _rows(term) if rows > 1}
    if len(found) > 1:
        counts = ", ".join(f"{rows} ({label})" for rows, label in sorted(found.items()))
        raise ValueError(
            f"Expected conditions, nulls and masks of one row each, or of as many rows as there are prompts, and got "
            f"{counts}; encode one for each prompt."
        )
    return next(iter(found), 1)


def _rows(term: Term) -> list[int]:
    conditions = [each.rows or 1 for each in (term.condition, term.null) if each is not None]
    return [*conditions, *([len(term.mask)] if term.mask is not None and term.mask.ndim > 2 else [])]


def told(term: Term, prompts: Tensor) -> Term:
    """The term with the conditions and masks of prompts, whose indices have shape (B,)."""
    condition, null, mask = term.condition, term.null, term.mask
    if mask is not None and mask.ndim > 2 and len(mask) > 1:
        mask = mask[prompts.to(mask.device)]
    return replace(
        term,
        condition=None if condition is None else condition.take(prompts),
        null=None if null is None else null.take(prompts),
        mask=mask,
    )

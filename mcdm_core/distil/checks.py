"""Refuses what could not be distilled, before any network is called."""

from collections.abc import Sequence
from typing import Any

from ..expert.condition import Condition
from ..expert.expert import Expert
from ..product.denoisers.joint_denoiser import several_spaces
from ..product.terms.term import Term
from ..sampling.run import check_terms
from .product import rows_of


def check_product(terms: Sequence[Term], student: Any, conditions: Any) -> int:
    """Check that a student can learn from terms.

    Args:
        terms: The product.
        student: The expert that is to learn.
        conditions: Its conditions.

    Returns:
        The number of prompts.

    Raises:
        ValueError: It cannot; one sentence says what to change.
    """
    check_terms(terms)
    if not isinstance(student, Expert) or not isinstance(conditions, Condition):
        got = f"{type(student).__name__} and {type(conditions).__name__}"
        raise ValueError(
            f"Expected an Expert as the student and a Condition for it and got {got}; load the one, and encode the "
            "other by its encoder."
        )
    student.check_read(conditions)
    _check_space(terms, student)
    return _count_prompts(terms, conditions)


def check_weight(weight: float, conditions: Condition, null: Condition | None) -> None:
    """Refuse a weight at which the student would have to be asked for what it isn't given.

    Args:
        weight: See `DistilConfig`.
        conditions: The student's conditions.
        null: Its null, or None.

    Raises:
        ValueError: A weight other than 1 has no null beside it, one of several rows, or no condition.
    """
    if weight == 1:
        return
    if null is None or not conditions.tensors() or null.signature != conditions.signature or null.rows != 1:
        raise ValueError(
            f"Expected the student's conditions and a null of one row of the same kind beside a weight of {weight:g}; "
            "pass both, the null by its encoder's null_like, or leave the weight at 1."
        )


def trained_prompts(count: int, unseen: Sequence[int]) -> list[int]:
    """Indices of the prompts that are trained on.

    Args:
        count: Number of prompts.
        unseen: Indices of those that aren't.

    Raises:
        ValueError: An index is none of a prompt, or all are unseen.
    """
    if strangers := [index for index in unseen if index not in range(count)]:
        raise ValueError(f"Expected indices of {count} prompts as unseen ones and got {strangers[0]}; count from 0.")
    trained = [index for index in range(count) if index not in unseen]
    if not trained:
        raise ValueError(f"Expected a prompt to train on, and all {count} are unseen; leave one of them out.")
    return trained


def _check_space(terms: Sequence[Term], student: Expert) -> None:
    if several_spaces(terms):
        raise ValueError(
            "Expected experts of one latent space to distil and got several spaces, of which no single network can "
            "make all samples; combine experts of one space."
        )
    if terms and student.space != terms[0].expert.space:
        raise ValueError(
            f"Expected a student that makes samples of the product's space, and {student.name} makes others than "
            f"{terms[0].expert.name}; choose one of the experts, or another of their family."
        )


def _count_prompts(terms: Sequence[Term], conditions: Condition) -> int:
    count, own = rows_of(terms), conditions.rows or 1
    if count > 1 and own > 1 and count != own:
        raise ValueError(
            f"Expected as many prompts for the student as for the experts, {count}, and got {own}; give one for each, "
            "or one for all."
        )
    return max(count, own)

"""One evaluation of a product: the networks are asked, and every method takes part by the stages of `Method`.

The caller brings the networks and knows how to ask them: the core's denoiser those of its terms.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from .evaluation.evaluation import Evaluation, Networks, Point
from .evaluation.plan import Plan
from .methods.method import Method


def evaluate(
    point: Point, plan: Plan, plain: Callable[[], Plan], networks: Networks, methods: Sequence[Method]
) -> Evaluation:
    """Evaluate a product.

    Args:
        point: The sample and its noise level.
        plan: The coefficients there, and the predictions that they take.
        plain: Makes the plan without the methods that save passes, whose rows are counted for comparison.
        networks: The experts' networks.
        methods: The product's methods, in their order.

    Returns:
        The predictions, and the plan as the methods left it; its `pair` gives the product.
    """
    evaluation = Evaluation(point, plan, plan.everything, networks)
    for method in methods:
        evaluation = replace(evaluation, asked=method.choose(evaluation))
    cond, null = networks.ask(plan, evaluation.asked)
    evaluation = replace(evaluation, cond=cond, null=null)
    if any(method.saves for method in methods):
        without = plain()
        rows, plain_rows = networks.rows(plan, evaluation.asked), networks.rows(without, without.everything)
        evaluation = replace(evaluation, rows=rows, plain_rows=plain_rows)
    for method in methods:
        method.take(evaluation)
    for method in methods:
        evaluation = replace(evaluation, null=method.complete(evaluation))
    for method in methods:
        evaluation = replace(evaluation, plan=method.weigh(evaluation))
    for method in methods:
        method.note(evaluation)
    return evaluation

"""One evaluation of a product: the networks are asked, and every method takes part by the stages of `Method`.

The caller brings the networks and knows how to ask them: the core's denoiser its own, ComfyUI's guider those of MODELs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from .evaluation import Evaluation, Networks, Point
from .methods.method import Method
from .plan import Plan


def evaluate(
    point: Point, plan: Plan, plain: Callable[[], Plan], networks: Networks, methods: Sequence[Method]
) -> Evaluation:
    """Evaluate a product.

    Args:
        point: The sample and its noise level.
        plan: The coefficients there, and the predictions that they take.
        plain: Makes the plan without the methods that save passes, whose rows are counted for comparison.
        networks: Those of the experts.
        methods: Those of the product, in their order.

    Returns:
        The predictions, and the plan as the methods left it; its `pair` gives the product.
    """
    found = Evaluation(point, plan, plan.everything, networks)
    for method in methods:
        found = replace(found, asked=method.choose(found))
    cond, null = networks.ask(plan, found.asked)
    found = replace(found, cond=cond, null=null)
    if any(method.saves for method in methods):
        without = plain()
        found = replace(
            found, rows=networks.rows(plan, found.asked), plain_rows=networks.rows(without, without.everything)
        )
    for method in methods:
        method.take(found)
    for method in methods:
        found = replace(found, null=method.complete(found))
    for method in methods:
        found = replace(found, plan=method.weigh(found))
    for method in methods:
        method.note(found)
    return found

"""One evaluation of a product: the networks are asked, and every method takes part by the stages of `Method`.

Who the networks are, and how they are asked, is left to the caller: the core's denoiser and ComfyUI's guider alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from .evaluation import Evaluation, Networks, Point
from .method import Method
from .plan import Plan


def evaluate(
    point: Point, plan: Plan, plain: Callable[[], Plan], networks: Networks, methods: Sequence[Method]
) -> Evaluation:
    """Evaluate a product.

    Args:
        point: Where.
        plan: Who counts what there.
        plain: The plan without the methods that save passes, with which their rows are compared.
        networks: Who is asked.
        methods: Those of the product, in their order.

    Returns:
        What the product is made of; the product itself is that of its `pair`.
    """
    found = Evaluation(point, plan, plan.everything, networks)
    for method in methods:
        found = replace(found, asked=method.choose(found))
    cond, null = networks.ask(plan, found.asked)
    found = replace(found, cond=cond, null=null, cond_answers=cond)
    if any(method.saves for method in methods):
        without = plain()
        found = replace(
            found, rows=networks.rows(plan, found.asked), plain_rows=networks.rows(without, without.everything)
        )
    for method in methods:
        method.take(found)
    for method in methods:
        cond, null = method.complete(found)
        found = replace(found, cond=cond, null=null)
    for method in methods:
        found = replace(found, plan=method.weigh(found))
    for method in methods:
        method.note(found)
    return found

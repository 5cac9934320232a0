"""A refusal of a run is written on the node of the expert that can mend it, beside ComfyUI's own message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ....mcdm_core.product.term_settings import TermError
from ..comfyui.page import REFUSALS, running_prompt


@contextmanager
def refusals_at_experts(node_of: Callable[[int, str], str | None]) -> Iterator[None]:
    """Tell the page of a `TermError` that passes, if a page has queued the prompt.

    Args:
        node_of: From the expert's index and the name of the input that mends it to the id of the node that has this
            input; None if that is the node that runs, or isn't known.
    """
    try:
        yield
    except TermError as error:
        node, running = node_of(error.index, error.setting), running_prompt()
        if node is not None and running is not None:
            running.page.send(REFUSALS, {"refusals": [running.about(node, str(error))]})
        raise

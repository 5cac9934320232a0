"""What a prompt is refused for, sent to the page as soon as it is queued.

ComfyUI answers with the same sentences, but its page shows them only on request. `web/mcdm.js` writes each on the node
that is marked for it.
"""

from __future__ import annotations

from ..comfyui.page import REFUSALS, page_of
from ..comfyui.prompt_server import prompt_server
from .queued_prompt import find_node
from .validation import faults_of_prompt


def show_refusals() -> None:
    """Register the sender with ComfyUI's server, where there is one; after `watch_prompts`."""
    if (server := prompt_server()) is not None:
        server.add_on_prompt_handler(tell_refusals)


def tell_refusals(json_data: dict) -> dict:
    """Send the page all that its prompt is refused for, which may be nothing; returns the request unchanged."""
    page = page_of(json_data.get("client_id"), json_data.get("extra_data"))
    if page.client is not None:
        found = [(find_node(key), fault.sentence) for key, fault in faults_of_prompt().items()]
        told = [{"node": node.id, "type": node.class_type, "text": sentence} for node, sentence in found if node]
        page.send(REFUSALS, {"refusals": told})
    return json_data

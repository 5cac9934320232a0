"""The prompt that the page would queue for a graph, which stores widget values by position."""

from collections.abc import Iterator

from ....support.workflow_twins import NOTES

VALUES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
FROM_OUTSIDE = -10  # source node of links from the inputs of a subgraph


def page_prompt(graph: dict, info: dict, outside: dict[str, list] | None = None) -> dict:
    """The prompt in API format, without titles.

    Args:
        graph: A workflow as the page saves it, or the definition of a subgraph.
        info: ComfyUI's /object_info.
        outside: Links for the inputs of a subgraph that have no widget; others are left unconnected.
    """
    nodes = {node["id"]: node for node in graph["nodes"] if node["type"] not in NOTES}
    prompt = {str(key): {"class_type": node["type"], "inputs": _values(node, info)} for key, node in nodes.items()}
    for source, slot, target, place in _links(graph):
        if target not in nodes:  # an output of the subgraph
            continue
        name = nodes[target]["inputs"][place]["name"]
        if source != FROM_OUTSIDE:
            prompt[str(target)]["inputs"][name] = [str(source), slot]
        elif "widget" not in nodes[target]["inputs"][place] and graph["inputs"][slot]["name"] in (outside or {}):
            prompt[str(target)]["inputs"][name] = outside[graph["inputs"][slot]["name"]]
    return prompt


def _values(node: dict, info: dict) -> dict:
    given, values = list(node.get("widgets_values") or []), {}
    for name, default, extra in _widgets(info[node["type"]]):
        values[name] = given.pop(0) if given else default
        assert given[:extra] in ([], ["fixed"], ["image"]), f"{name} of {node['type']} changes by {given[:extra]}"
        del given[:extra]
    assert not given, f"{node['type']} has no widgets for {given}"
    return values


def _widgets(node_info: dict) -> Iterator[tuple[str, object, int]]:
    """For each input with a widget: its name, its default, and the number of widgets without an input after it."""
    for group in ("required", "optional"):
        for name in node_info["input_order"].get(group, ()):
            kind, *rest = node_info["input"][group][name]
            settings = rest[0] if rest else {}
            options = (kind if isinstance(kind, list) else settings.get("options")) or [None]  # none of an empty folder
            if isinstance(kind, list) or kind in VALUES:
                controlled = settings.get("control_after_generate") or name in ("seed", "noise_seed")
                yield name, settings.get("default", options[0]), bool(controlled) + bool(settings.get("image_upload"))


def _links(graph: dict) -> Iterator[tuple[int, int, int, int]]:
    for link in graph["links"]:
        if isinstance(link, dict):
            yield link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"]
        else:
            yield tuple(link[1:5])

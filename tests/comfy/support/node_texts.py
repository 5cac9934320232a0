"""The nodes' texts in the form of ComfyUI's language files (`locales/<language>/nodeDefs.json`)."""

from typing import Any


def node_texts(classes: dict[str, type]) -> dict[str, Any]:
    """Names, descriptions and tooltips of nodes by their ids."""
    return {node_id: _texts(cls.GET_SCHEMA()) for node_id, cls in classes.items()}


def label_of(value: Any) -> str:
    """What the page calls an input."""
    return value.display_name or value.id


def _texts(schema: Any) -> dict[str, Any]:
    """Texts of a node; Nodes 2.0 looks up the tooltip of a socket by the name that it shows, and others by the id."""
    inputs = {value.id: {"name": label_of(value), "tooltip": value.tooltip} for value in schema.inputs}
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": inputs | {text["name"]: text for text in inputs.values()},
        "outputs": {
            str(place): {"name": value.display_name, "tooltip": value.tooltip}
            for place, value in enumerate(schema.outputs)
        },
    }

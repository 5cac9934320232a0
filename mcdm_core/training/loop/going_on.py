"""Going on with more than a run was begun with: more steps, or more drawn pictures."""

from collections.abc import Mapping
from typing import Any

_LENGTH = {"optimizer": ("steps", "decay_from"), "data": ("count",)}
"""Section → its keys that a run may go on with other values of."""


def earlier_length(saved: Mapping[str, Any], own: Mapping[str, Any], step: int) -> str | None:
    """What a run goes on with more of, as the run was until now; for its card.

    Args:
        saved: The values that influence the weights (`decisive_values`), as the run's state has them.
        own: The same values, as the run is to go on with.
        step: Steps that it has made.

    Returns:
        The former values; None where another value has changed too, where there are fewer steps than it has made, or
        fewer pictures: of these, the ones held out would be among those it was trained on.
    """
    if _without_length(saved) != _without_length(own):
        return None
    if own["optimizer"]["steps"] < step or own["data"]["count"] < saved["data"]["count"]:
        return None
    changed = [
        f"{name} = {saved[section][name]}"
        for section, names in _LENGTH.items()
        for name in names
        if saved[section][name] != own[section][name]
    ]
    return f"to step {step}: {', '.join(changed)}"


def earlier_stages(card: Mapping[str, Any]) -> list[str]:
    """What the card of an expert that is trained on from its weights says of its training until then."""
    before = [card["earlier"]] if "earlier" in card else []
    return [*before, f"to step {card.get('steps', 0)}: {card.get('data')}; on from averaged weights"]


def _without_length(decisive: Mapping[str, Any]) -> dict[str, Any]:
    rest = {section: dict(values) for section, values in decisive.items() if section in _LENGTH}
    for section, names in _LENGTH.items():
        for name in names:
            del rest[section][name]
    return {**decisive, **rest}

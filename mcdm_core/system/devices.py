"""Checks torch's devices."""

import torch

from .failures import ForeseenError


def check_device(name: str) -> None:
    """Check that torch can compute on a device, by doing so.

    Raises:
        ValueError: torch knows no device of this name.
        ForeseenError: This machine does not have the device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"Expected a device such as cpu or cuda and got {name!r}; correct --device.") from None
    try:
        torch.zeros(1, device=device).add(1).item()
    except Exception as error:  # each backend has exceptions of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ForeseenError(f"The device {name} cannot be used here ({reason}); choose another, such as cpu.") from None

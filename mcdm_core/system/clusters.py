"""Checks the addresses of other processes, and joins Ray clusters."""

import importlib.util
import os
import socket
from pathlib import Path
from typing import Any

WAIT = 5.0  # seconds
_REQUIREMENTS = Path(__file__).parents[2] / "requirements-hosts.txt"


def check_ray() -> None:
    """Check that Ray, through which workers are reached, is installed, without importing it.

    Raises:
        ValueError: It isn't.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            f"Expected Ray, by which workers are reached, and it isn't installed; run: python -m pip install -r "
            f"{_REQUIREMENTS}"
        )


def check_listening(address: str, what: str) -> None:
    """Refuse an address at which nothing listens, within seconds; libraries may keep trying for minutes.

    Args:
        address: HOST:PORT.
        what: What should listen there, for the message.

    Raises:
        ValueError: It is no such address, or nobody answers there.
    """
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()):
        raise ValueError(f"Expected HOST:PORT as the address of {what} and got {address!r}; correct it.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ValueError(
            f"Expected {what} at {address} and nobody answers there ({error}); start it, or correct the address."
        ) from error


def join_cluster(ray: Any, address: str, who: str, **options: Any) -> None:
    """Join a cluster.

    Args:
        ray: The module Ray, which is optional and therefore imported by the caller.
        address: HOST:PORT of the cluster's head. One of its Ray nodes has to run on this machine.
        who: The process that joins, for the message: "this ComfyUI", say.
        options: Options of `ray.init`.

    Raises:
        ValueError: The cluster isn't there, or doesn't let this process in.
    """
    check_listening(address, "a Ray cluster")
    try:
        ray.init(address=address, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"Expected a Ray cluster at {address} that takes {who} in, and it doesn't; {_remedy()}. Ray says, with "
            f"more in the log: {said[:400]}"
        ) from error


def _remedy() -> str:
    """Advice for the message; Ray does not say whether the token was wrong."""
    see = "see that a Ray node runs here, with the cluster's token, Ray and Python"
    without = os.environ.get("RAY_AUTH_MODE") != "token"
    return f"start it with RAY_AUTH_MODE=token, if the cluster was, and {see}" if without else see

"""Ray clusters, which this process joins."""

import importlib.util
import os
from pathlib import Path
from typing import Any

from .addresses import check_listening

_REQUIREMENTS = Path(__file__).parents[2] / "requirements-hosts.txt"


def check_ray() -> None:
    """Refuse to go on without Ray, by which workers are reached; nothing of it is imported.

    Raises:
        ValueError: If it is missing.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            f"Expected Ray, by which workers are reached, and it isn't installed; run: python -m pip install -r "
            f"{_REQUIREMENTS}"
        )


def join_cluster(ray: Any, address: str, who: str, **options: Any) -> None:
    """Join a cluster.

    Args:
        ray: Ray, which is optional and therefore imported by whoever needs it.
        address: HOST:PORT of its head. A Ray node of it has to run on this machine.
        who: What joins, for the message: "this ComfyUI", say.
        options: As `ray.init` takes them.

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
    """What to do; Ray says of nobody whether it was the token."""
    see = "see that a Ray node runs here, with the cluster's token, Ray and Python"
    without = os.environ.get("RAY_AUTH_MODE") != "token"
    return f"start it with RAY_AUTH_MODE=token, if the cluster was, and {see}" if without else see

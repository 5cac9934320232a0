"""Ray clusters, which this process joins."""

import os
from typing import Any

from .addresses import check_listening


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

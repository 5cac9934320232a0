"""What is said where a cluster lets nobody in. That one does is tested with Ray itself, where it is installed."""

import socket

import pytest

from mcdm_core.system.clusters import join_cluster


class Refusing:
    """Ray's side of it; Ray is optional."""

    class exceptions:  # noqa: N801 - as Ray calls it
        class RayError(Exception):
            """See Ray."""

    def init(self, **options):
        raise ConnectionError("Failed to\n connect")


@pytest.mark.parametrize(
    ("mode", "remedy"), [("token", "it doesn't; see that"), (None, "; start it with RAY_AUTH_MODE=token, if the")]
)
def test_a_cluster_that_lets_nobody_in(monkeypatch, mode, remedy):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(
            ValueError, match=r"takes this program in.*with the cluster's token.* log: Failed to connect$"
        ) as said,
    ):
        join_cluster(Refusing(), f"127.0.0.1:{server.getsockname()[1]}", "this program")
    assert remedy in str(said.value)

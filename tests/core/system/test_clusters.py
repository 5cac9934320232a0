"""Whether somebody listens at an address, and what a cluster says that lets nobody in.

That one does is tested with Ray itself, where it is installed.
"""

import socket

import pytest

from mcdm_core.system.clusters import WAIT, check_listening, join_cluster


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def attempts(monkeypatch):
    """Each attempt to connect, as the longest that it may take."""
    connect, made = socket.create_connection, []

    def watched(address, timeout):
        made.append(timeout)
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", watched)
    return made


def test_somebody_who_listens(listening, attempts):
    check_listening(listening, "a cluster")
    assert attempts == [WAIT]


def test_nobody_is_said_after_one_attempt(attempts):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match=r"Expected a cluster at .* and nobody answers there .*; start it, or"):
            check_listening(f"127.0.0.1:{free.getsockname()[1]}", "a cluster")
    assert attempts == [WAIT]


@pytest.mark.parametrize("address", ["", "auto", "6379", ":6379", "10.0.0.1:", "10.0.0.1:port", "h:²"])
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match=r"Expected HOST:PORT as the address of a cluster and got .*; correct"):
        check_listening(address, "a cluster")


@pytest.mark.parametrize("address", ["127.0.0.1:99999999999", "no such host:80", "x" * 300 + ":80"])
def test_where_nobody_can_be(address):
    with pytest.raises(ValueError, match="nobody answers there"):
        check_listening(address, "a cluster")


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
def test_a_cluster_that_lets_nobody_in(listening, monkeypatch, mode, remedy):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    expected = r"takes this program in.*with the cluster's token.* log: Failed to connect$"
    with pytest.raises(ValueError, match=expected) as said:
        join_cluster(Refusing(), listening, "this program")
    assert remedy in str(said.value)

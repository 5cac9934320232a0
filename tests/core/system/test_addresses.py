"""Whether somebody listens at an address."""

import socket

import pytest

from mcdm_core.system.clusters import WAIT, check_listening


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

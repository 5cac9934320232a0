"""Whether somebody listens at an address."""

import socket
import time

import pytest

from mcdm_core.system.addresses import check_listening


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_somebody_who_listens(listening):
    check_listening(listening, "a cluster")


def test_nobody_is_said_at_once(listening):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with pytest.raises(ValueError, match=r"Expected a cluster at .* and nobody answers there .*; start it, or"):
            check_listening(f"127.0.0.1:{free.getsockname()[1]}", "a cluster")
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("address", ["", "auto", "6379", ":6379", "10.0.0.1:", "10.0.0.1:port", "h:²"])
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match=r"Expected HOST:PORT as the address of a cluster and got .*; correct"):
        check_listening(address, "a cluster")


@pytest.mark.parametrize("address", ["127.0.0.1:99999999999", "no such host:80", "x" * 300 + ":80"])
def test_where_nobody_can_be(address):
    with pytest.raises(ValueError, match="nobody answers there"):
        check_listening(address, "a cluster")

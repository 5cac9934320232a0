"""What a test starts ends with it, also where the test run is killed."""

import importlib.util
import os
import signal
import socket
from pathlib import Path
from select import select

import pytest

from tests.support.processes import is_at_work, run, start, stop
from tests.support.watchdog import PATIENCE, HungError, wait_until

ROOT = Path(__file__).parents[2]
SERVER = """
import signal, socket, sys, threading
if sys.argv[2] == "puts away":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(b"here")
    threading.Event().wait()
"""
TESTS = """
import sys, threading
from tests.support.processes import start
start(sys.argv[1:], sys.stdout)
threading.Event().wait()
"""


@pytest.fixture
def begin(tmp_path):
    """Start a script that uses what tests do; it is stopped after the test."""
    processes = []

    def started(name, text, *arguments):
        script = tmp_path / f"{name}.py"
        script.write_text(text, encoding="utf-8")
        with (tmp_path / f"{name}.log").open("w") as log:
            process = start([script, *arguments], log, env={**os.environ, "PYTHONPATH": str(ROOT)})
        processes.append(process)
        return process

    yield started
    for process in processes:
        stop(process)


@pytest.fixture
def listening():
    """Accepts the connection of a server that has started, which the system closes when that ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connection_of_server(listener, process):
    wait_until(lambda: select([listener], [], [], 0)[0], "a server", process)
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    assert connection.recv(4) == b"here"
    return connection


def wait_for_end(connection):
    try:
        assert connection.recv(1) == b""
    except TimeoutError:
        raise HungError("the end of the server") from None


@pytest.mark.parametrize("ending", ["at once", "puts away"])
def test_a_server_ends_where_the_tests_are_killed(begin, listening, tmp_path, ending):
    server = tmp_path / "server.py"
    server.write_text(SERVER, encoding="utf-8")
    tests = begin("run", TESTS, server, str(listening.getsockname()[1]), ending)
    with connection_of_server(listening, tests) as connection:
        tests.kill()
        wait_for_end(connection)


def test_a_server_that_is_stopped_puts_away_what_it_has(begin, listening):
    server = begin("server", SERVER, str(listening.getsockname()[1]), "puts away")
    with connection_of_server(listening, server) as connection:
        stop(server)
        wait_for_end(connection)
    assert server.returncode == (3 if os.name == "posix" else signal.SIGTERM)


def test_a_script_runs_as_python_runs_it(tmp_path):
    """With its folder on the path, and with nothing to read."""
    (tmp_path / "beside.py").write_text("said = 'beside'", encoding="utf-8")
    told = "import sys, beside; print(__name__, beside.said, sys.argv[1:], repr(sys.stdin.read()))"
    (tmp_path / "script.py").write_text(f"{told}; sys.exit(4)", encoding="utf-8")
    expected = "__main__ beside ['a', '-b'] ''\n"
    assert run([tmp_path / "script.py", "a", "-b"]) == (4, expected)
    assert run(["-m", "script", "a", "-b"], cwd=tmp_path) == (4, expected)


CLUSTER = """
import sys, threading
from pathlib import Path
from tests.support.ray_nodes import RayNodes, secured
with secured(), RayNodes(Path(sys.argv[1])).running():
    print("is running", flush=True)
    threading.Event().wait()
"""


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray isn't installed (requirements-hosts.txt)")
def test_a_cluster_ends_where_the_tests_are_killed(begin, tmp_path):
    """Ray's own processes, too."""
    import psutil

    tests, log = begin("cluster", CLUSTER, tmp_path), tmp_path / "cluster.log"
    wait_until(lambda: "is running" in log.read_text(), "a cluster", tests, log.read_text)
    started = psutil.Process(tests.pid).children(recursive=True)
    assert "raylet" in " ".join(process.name() for process in started)
    tests.kill()
    wait_until(lambda: not any(map(is_at_work, started)), "the end of Ray's processes")

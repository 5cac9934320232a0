"""A Ray cluster on this machine, started as users start one: each node in a process of its own."""

import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from .processes import start, stop
from .watchdog import EndedError, wait_until

TOKEN = secrets.token_hex(32)  # one per process: Ray keeps the first that it has read
TRIES = 4  # Ray gives its own processes 30 s to start, which may be too short on a busy machine
NODE = ["-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--include-log-monitor", "false"]


class RayNodes:
    """A Ray head, and the processes that were started beside it.

    Args:
        folder: Folder for logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._started: list[subprocess.Popen] = []

    @contextmanager
    def running(self) -> Iterator["RayNodes"]:
        """Start the head, with one CPU; all processes end with the block."""
        port = self.address.rpartition(":")[2]
        head = ["--head", "--port", port, "--include-dashboard", "false", "--object-store-memory", "200000000"]
        try:
            self._start_node("head", head)
            yield self
        finally:
            for process in reversed(self._started):
                stop(process)

    def join(self, name: str) -> subprocess.Popen:
        """Start another node, with one CPU, as on another machine."""
        return self._start_node(name, ["--address", self.address, "--object-store-memory", "80000000"])

    def start(self, command: list[str], name: str, sign: str) -> subprocess.Popen:
        """Start a script or module, see `processes.start`, and wait until `sign` is in its log."""
        log = self.log_of(name)
        with log.open("w") as output:
            process = start(command, output, cwd=self.folder)
        self._started.append(process)
        wait_until(
            lambda: sign in log.read_text(),
            f"{sign!r} of {name}",
            process,
            lambda: f" Its log ends with:\n{log.read_text()[-3000:]}",
        )
        return process

    def actor(self, name: str) -> Any:
        """Ray's handle of a worker of this pack; this process has to have joined the cluster."""
        import ray

        return ray.get_actor(name, namespace="mcdm")

    def kill(self, name: str) -> None:
        """Kill the process of a worker, which Ray will restart; see `actor`."""
        self.process(name).kill()

    def process(self, name: str) -> Any:
        """psutil's view of a worker's process; see `actor`."""
        import psutil
        import ray

        return psutil.Process(ray.get(self.actor(name).process.remote()))

    def log_of(self, name: str) -> Path:
        """The log of a process."""
        return self.folder / f"{name}.log"

    def _start_node(self, name: str, options: list[str]) -> subprocess.Popen:
        command = [*NODE, "--num-cpus", "1", *options]
        for _ in range(TRIES - 1):
            with suppress(EndedError):
                return self.start(command, name, "Ray runtime started")
        return self.start(command, name, "Ray runtime started")


@contextmanager
def secured() -> Iterator[None]:
    """Within the block, Ray uses a token, and sends no usage statistics."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield

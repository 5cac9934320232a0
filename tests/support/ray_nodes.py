"""A Ray cluster of this machine, as users start one: each node in a process of its own."""

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

TOKEN = secrets.token_hex(32)  # one a process: Ray keeps the first that it has read
TRIES = 4  # Ray gives its own processes 30 s to start, which is short on a machine that is at work
NODE = ["-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--include-log-monitor", "false"]


class RayNodes:
    """A head, and what else belongs to it.

    Args:
        folder: For logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._started: list[subprocess.Popen] = []

    @contextmanager
    def running(self) -> Iterator["RayNodes"]:
        """Start the head, which can do one thing at a time; all that was started ends with the block."""
        port = self.address.rpartition(":")[2]
        head = ["--head", "--port", port, "--include-dashboard", "false", "--object-store-memory", "200000000"]
        try:
            self._start_node("head", head)
            yield self
        finally:
            for process in reversed(self._started):
                stop(process)

    def join(self, name: str) -> subprocess.Popen:
        """Start another node, as of another machine, which can do one thing at a time."""
        return self._start_node(name, ["--address", self.address, "--object-store-memory", "80000000"])

    def start(self, command: list[str], name: str, sign: str) -> subprocess.Popen:
        """Start a script or module, see `processes.start`, and wait until it has written something to its log."""
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
        """Ray's handle of a worker of this pack; for a process that has joined the cluster."""
        import ray

        return ray.get_actor(name, namespace="mcdm")

    def kill(self, name: str) -> None:
        """End the process of a worker, which Ray will start again; see `actor`."""
        self.process(name).kill()

    def process(self, name: str) -> Any:
        """psutil's view of a worker's process; see `actor`."""
        import psutil
        import ray

        return psutil.Process(ray.get(self.actor(name).process.remote()))

    def log_of(self, name: str) -> Path:
        """What a process has written."""
        return self.folder / f"{name}.log"

    def _start_node(self, name: str, options: list[str]) -> subprocess.Popen:
        command = [*NODE, "--num-cpus", "1", *options]
        for _ in range(TRIES - 1):
            with suppress(EndedError):
                return self.start(command, name, "Ray runtime started")
        return self.start(command, name, "Ray runtime started")


@contextmanager
def secured() -> Iterator[None]:
    """A token for what is started meanwhile, and nothing sent to Ray's makers."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield

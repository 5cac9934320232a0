"""A Ray cluster of this machine, as users start one: each node in a process of its own."""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

TOKEN = secrets.token_hex(32)  # one a process: Ray keeps the first that it has read
START_SECONDS = 300
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
                self._stop(process)

    def join(self, name: str) -> subprocess.Popen:
        """Start another node, as of another machine, which can do one thing at a time."""
        return self._start_node(name, ["--address", self.address, "--object-store-memory", "80000000"])

    def start(self, command: list[str], name: str, sign: str) -> subprocess.Popen:
        """Start a process, and wait until it has written something to its log."""
        log = self.log_of(name)
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder)
        self._started.append(process)
        deadline = time.monotonic() + START_SECONDS
        while sign not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start; its log ends with:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
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
        command = [sys.executable, *NODE, "--num-cpus", "1", *options]
        for _ in range(TRIES - 1):
            with suppress(RuntimeError):
                return self.start(command, name, "Ray runtime started")
        return self.start(command, name, "Ray runtime started")

    def _stop(self, process: subprocess.Popen) -> None:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def secured() -> Iterator[None]:
    """A token for what is started meanwhile, and nothing sent to Ray's makers."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield

"""A Ray cluster of this machine, and workers in it as users start them: each a ComfyUI in a process of its own."""

import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .comfyui_server import install

NO_RAY = "Ray isn't installed (requirements-hosts.txt)"
START_SECONDS = 300
TRIES = 4  # Ray gives its own processes 30 s to start, which is short on a machine that is at work


class Cluster:
    """A head without work of its own, and workers beside it.

    Args:
        comfyui: ComfyUI's folder.
        folder: For logs and the workers' files.
    """

    def __init__(self, comfyui: Path, folder: Path):
        self.comfyui, self.folder = comfyui, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._started: list[subprocess.Popen] = []

    @contextmanager
    def running(self) -> Iterator["Cluster"]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--head", "--num-cpus", "1"]
        command += ["--port", self.address.rpartition(":")[2], "--object-store-memory", "200000000"]
        command += ["--disable-usage-stats", "--include-dashboard", "false", "--include-log-monitor", "false"]
        try:
            for _ in range(TRIES - 1):
                with suppress(RuntimeError):
                    self._start(command, "head", "Ray runtime started")
                    break
            else:
                self._start(command, "head", "Ray runtime started")
            yield self
        finally:
            for process in reversed(self._started):
                self._stop(process)

    def add(self, name: str, files: Path) -> Path:
        """Start a worker whose ComfyUI has its folders in `files`; returns its log."""
        install(files / "custom_nodes" / "mcdm")
        command = [sys.executable, str(files / "custom_nodes" / "mcdm" / "worker.py"), "--name", name]
        command += ["--address", self.address, "--threads", "1", "--comfyui", str(self.comfyui), "--", "--cpu"]
        command += ["--base-directory", str(files), "--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
        return self._start(command, name, "is ready")

    def actor(self, name: str):
        """Ray's handle of a worker."""
        import ray

        return ray.get_actor(name, namespace="mcdm")

    def kill(self, name: str) -> None:
        """End the process of a worker, which Ray will start again."""
        import ray

        os.kill(ray.get(self.actor(name).process.remote()), signal.SIGKILL)

    def _start(self, command: list[str], name: str, sign: str) -> Path:
        log = self.folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder)
        self._started.append(process)
        deadline = time.monotonic() + START_SECONDS
        while sign not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start; its log ends with:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        return log

    def _stop(self, process: subprocess.Popen) -> None:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def joined_cluster(comfyui: Path, folder: Path) -> Iterator[Cluster]:
    """A cluster with a token of its own, which this process has joined; needs the `pack`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with Cluster(comfyui, folder).running() as running:
            importlib.import_module("mcdm_pack.nodes.host.remote.cluster").connect(running.address)
            yield running
            import ray

            ray.shutdown()


def on_worker(prompt: dict, address: str, worker: str, experts: tuple[str, ...], timeout: float = 120.0) -> dict:
    """A prompt with some of its experts, by the ids of their nodes, on a worker."""
    moved = json.loads(json.dumps(prompt))
    for key in experts:
        moved[key]["class_type"] = "MCDM_ExpertRemote"
        moved[key]["inputs"] |= {"address": address, "worker": worker, "timeout": timeout}
    return moved


def copy_models(source: Path, target: Path) -> Path:
    """Give a worker the models that another folder has."""
    for name in ("input", "output", "custom_nodes"):
        (target / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(source / "models", target / "models", dirs_exist_ok=True)
    return target

"""Workers in a Ray cluster on this machine, started as users start them: each a ComfyUI in a process of its own."""

import importlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ....support.ray_nodes import RayNodes, secured
from ....support.watchdog import PATIENCE
from .comfyui_server import install

NO_RAY = "Ray isn't installed (requirements-hosts.txt)"


class Cluster(RayNodes):
    """A Ray head, and workers beside it.

    Args:
        comfyui: ComfyUI's folder.
        folder: Folder for logs and the workers' files.
    """

    def __init__(self, comfyui: Path, folder: Path):
        super().__init__(folder)
        self.comfyui = comfyui

    def add(self, name: str, files: Path) -> Path:
        """Start a worker whose ComfyUI has its folders in `files`; returns its log."""
        install(files / "custom_nodes" / "mcdm")
        command = [str(files / "custom_nodes" / "mcdm" / "worker.py"), "--name", name]
        command += ["--address", self.address, "--threads", "1", "--comfyui", str(self.comfyui), "--", "--cpu"]
        command += ["--base-directory", str(files), "--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
        self.start(command, name, "is ready")
        return self.log_of(name)


@contextmanager
def joined_cluster(comfyui: Path, folder: Path) -> Iterator[Cluster]:
    """A cluster with a token of its own, joined by this process; needs the `pack`."""
    with secured(), Cluster(comfyui, folder).running() as running:
        importlib.import_module("mcdm_pack.nodes.workers.cluster").connect(running.address)
        yield running
        import ray

        ray.shutdown()


def on_worker(prompt: dict, address: str, worker: str, experts: tuple[str, ...], timeout: float = PATIENCE) -> dict:
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

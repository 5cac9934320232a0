"""Draws batches of samples on the machines of a Ray cluster, as Ray's tasks, which Ray repeats if they are lost.

This process sends the code and the experts' files, so other machines need only a Python with Ray and the packages of
`requirements-train.txt`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcdm_core.system.clusters import join_cluster
from mcdm_core.system.formats import write_bytes
from mcdm_core.system.writer import make_folder

from ..vaes import vae_of
from .drawing import drawn
from .jobs import Job, Samples, keep

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("mcdm_core", "studies")
_LEFT_HERE = {"studies": {"configs", "networks", "results"}}  # folder → its entries that are not sent
_TRIES = 20  # of a batch whose process or machine is lost, so that one that always fails ends
_VAE = "vae/vae.safetensors"  # where `find_vae_of` looks, relative to a folder of experts


@dataclass(frozen=True)
class Sent:
    """Files that were sent to the cluster.

    Attributes:
        key: Hash of their names and contents.
        contents: Name → Ray's reference of the bytes; names are paths with slashes.
    """

    key: str
    contents: Mapping[str, Any]


class RayCluster:
    """A cluster that draws batches within a `with` block.

    Args:
        address: HOST:PORT of its head. One of its Ray nodes has to run on this machine.

    Raises:
        ValueError: Ray is missing, or the cluster can't be joined.
    """

    def __init__(self, address: str):
        if importlib.util.find_spec("ray") is None:
            raise ValueError(
                "Expected Ray, which spreads batches over machines, and it isn't installed; run: python -m pip install "
                "-r requirements-hosts.txt"
            )
        import ray

        self._ray = ray
        self._sent: dict[Any, Sent] = {}
        with tempfile.TemporaryDirectory(prefix="mcdm-") as folder:
            # As working folder: otherwise Ray makes machines import from this process's path, if they have that path.
            code = {"working_dir": str(_staged(Path(folder)))}
            join_cluster(ray, address, "this process", logging_level=logging.WARNING, runtime_env=code)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._sent.clear()
        self._ray.shutdown()

    def draw(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Draw batches and write each as soon as it is done.

        Raises:
            ValueError: One cannot be drawn, or the connection to the cluster is lost.
        """
        task = self._ray.remote(draw_batch).options(num_cpus=1, max_retries=_TRIES)
        waiting = {task.remote(*self._portable(job)): job for job in jobs}
        try:
            while waiting:
                (ref,), _ = self._ray.wait(list(waiting), num_returns=1)
                keep(waiting.pop(ref), self._result(ref))
                yield
        finally:
            for ref in waiting:
                self._ray.cancel(ref)

    def _result(self, ref: Any) -> Samples:
        try:
            result: Samples = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            said = " ".join(str(error).split())
            raise ValueError(
                f"Expected the cluster to draw a batch and it doesn't any more; start it again, and the same command "
                f"goes on. Ray says: {said[:400]}"
            ) from error
        return result

    def _portable(self, job: Job) -> tuple[Job, dict[str, Sent], Sent | None]:
        """A job without this machine's paths, and its files."""
        experts = {term.expert: job.experts[term.expert] for term in job.setting.terms}
        rule = job.setting.rule
        files = {name: self._send((path, rule == "gan"), files_of_expert(path, rule)) for name, path in experts.items()}
        loras = {name: job.experts[name] for term in job.setting.terms for name in term.lora}
        files |= {name: self._send(path, {path.name: path}) for name, path in loras.items()}
        folder = job.data.path
        pictures = self._send(folder, files_of_folder(Path(folder))) if folder else None
        return replace(job, data=replace(job.data, path="", features=""), experts={}, path=Path()), files, pictures

    def _send(self, key: Any, files: Mapping[str, Path]) -> Sent:
        if key not in self._sent:
            contents = {name: path.read_bytes() for name, path in files.items()}
            digest = hashlib.sha256()
            for name, content in contents.items():
                digest.update(f"{name} {len(content)} ".encode() + content)
            refs = {name: self._ray.put(content) for name, content in contents.items()}
            self._sent[key] = Sent(digest.hexdigest(), refs)
        return self._sent[key]


def _staged(folder: Path) -> Path:
    """Copy the code that the machines need into a folder."""

    def left_here(inside: str, names: list[str]) -> set[str]:
        left = _LEFT_HERE.get(Path(inside).relative_to(_ROOT).as_posix(), set())
        return {name for name in names if name in left or name == "__pycache__"}

    for name in _PACKAGES:
        shutil.copytree(_ROOT / name, folder / name, ignore=left_here)
    return folder


def files_of_expert(path: Path, rule: str) -> dict[str, Path]:
    """An expert's file and, if it makes latents, its VAE's, by relative paths at which they are found."""
    vae = None if rule == "gan" else vae_of(path)
    return {path.name: path} | ({_VAE: vae} if vae else {})


def files_of_folder(folder: Path) -> dict[str, Path]:
    """All files of a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def draw_batch(job: Job, experts: Mapping[str, Sent], pictures: Sent | None) -> Samples:
    """Draw a batch on the machine that Ray chooses.

    Args:
        job: The batch, without paths.
        experts: Name → files; the expert's is the first.
        pictures: The folder of pictures, if the data are a folder.
    """
    paths = {name: _unpacked(sent) / next(iter(sent.contents)) for name, sent in experts.items()}
    data = replace(job.data, path=str(_unpacked(pictures))) if pictures else job.data
    return drawn(replace(job, data=data, experts=paths))


_folders: dict[str, tempfile.TemporaryDirectory] = {}
"""Key → folder of files that this process has unpacked; removed when the process ends."""


def _unpacked(sent: Sent) -> Path:
    if sent.key not in _folders:
        import ray

        folder = tempfile.TemporaryDirectory(prefix="mcdm-")
        for name, content in zip(sent.contents, ray.get(list(sent.contents.values())), strict=True):
            path = Path(folder.name, "files", name)
            make_folder(path.parent)
            write_bytes(path, content)
        _folders[sent.key] = folder
    return Path(_folders[sent.key].name) / "files"

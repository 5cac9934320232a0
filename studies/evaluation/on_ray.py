"""Batches of samples drawn on the machines of a Ray cluster, by Ray's own tasks: it repeats those that are lost.

The code and the files of experts are sent from here, so that the other machines need nothing but a Python with Ray and
what `requirements-train.txt` names.
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

from .config import DataConfig
from .drawing import drawn
from .jobs import Job, Samples, keep
from .vaes import vae_of

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("mcdm_core", "studies")
_LEFT_HERE = {"studies": {"configs", "networks", "results"}}  # of what lies in a folder
_TRIES = 20  # of a batch whose process or machine is lost: one that always dies must end some day
_VAE = "vae/vae.safetensors"  # where `find_vae_of` looks, from a folder of experts


@dataclass(frozen=True)
class Sent:
    """Files that the cluster has.

    Attributes:
        key: Of their names and contents.
        contents: Name → Ray's reference of the bytes; names are paths with slashes.
    """

    key: str
    contents: Mapping[str, Any]


class RayCluster:
    """A cluster, which draws batches as long as a `with` block lasts.

    Args:
        address: HOST:PORT of its head. A Ray node of it has to run on this machine.

    Raises:
        ValueError: Ray is missing, or the cluster lets nobody in.
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
            # As its working folder: else Ray lets the machines import what lies at this process's, if they have it.
            code = {"working_dir": str(_staged(Path(folder)))}
            join_cluster(ray, address, "this process", logging_level=logging.WARNING, runtime_env=code)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._sent.clear()
        self._ray.shutdown()

    def draw(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Draw batches and write each, in the order in which they are done.

        Raises:
            ValueError: One cannot be drawn, or the cluster is gone.
        """
        task = self._ray.remote(draw_batch).options(num_cpus=1, max_retries=_TRIES)
        waiting = {task.remote(*self._told(job)): job for job in jobs}
        try:
            while waiting:
                (ref,), _ = self._ray.wait(list(waiting), num_returns=1)
                keep(waiting.pop(ref), self._made(ref))
                yield
        finally:
            for ref in waiting:
                self._ray.cancel(ref)

    def _made(self, ref: Any) -> Samples:
        try:
            made: Samples = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            said = " ".join(str(error).split())
            raise ValueError(
                f"Expected the cluster to draw a batch and it doesn't any more; start it again, and the same command "
                f"goes on. Ray says: {said[:400]}"
            ) from error
        return made

    def _told(self, job: Job) -> tuple[Job, dict[str, Sent], Sent | None]:
        """A job without what only this machine knows, and its files."""
        experts = {term.expert: job.experts[term.expert] for term in job.setting.terms}
        rule = job.setting.rule
        files = {name: self._send((path, rule == "gan"), files_of_expert(path, rule)) for name, path in experts.items()}
        loras = {term.lora: job.experts[term.lora] for term in job.setting.terms if term.lora}
        files |= {name: self._send(path, {path.name: path}) for name, path in loras.items()}
        folder = job.data.path
        pictures = self._send(folder, files_of_folder(Path(folder))) if folder else None
        return replace(job, data=_without_paths(job.data), experts={}, path=Path()), files, pictures

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
    """A folder with the code that the machines need."""

    def left_here(inside: str, names: list[str]) -> set[str]:
        left = _LEFT_HERE.get(Path(inside).relative_to(_ROOT).as_posix(), set())
        return {name for name in names if name in left or name == "__pycache__"}

    for name in _PACKAGES:
        shutil.copytree(_ROOT / name, folder / name, ignore=left_here)
    return folder


def files_of_expert(path: Path, rule: str) -> dict[str, Path]:
    """An expert's file, and that of the VAE whose latents it makes, as they lie to one another."""
    vae = None if rule == "gan" else vae_of(path)
    return {path.name: path} | ({_VAE: vae} if vae else {})


def files_of_folder(folder: Path) -> dict[str, Path]:
    """All files of a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def draw_batch(job: Job, experts: Mapping[str, Sent], pictures: Sent | None) -> Samples:
    """A batch, on whichever machine Ray chooses.

    Args:
        job: What to draw, without paths.
        experts: Name → files; the expert's is the first.
        pictures: The folder of pictures, if the data are one.
    """
    paths = {name: _unpacked(sent) / next(iter(sent.contents)) for name, sent in experts.items()}
    data = replace(job.data, path=str(_unpacked(pictures))) if pictures else job.data
    return drawn(replace(job, data=data, experts=paths))


def _without_paths(data: DataConfig) -> DataConfig:
    return replace(data, path="", features="")


_folders: dict[str, tempfile.TemporaryDirectory] = {}
"""What this process has unpacked, by keys; it goes with the process."""


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

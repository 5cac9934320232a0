"""Samples held-out conditions in parallel processes; each batch is written when done, so that runs can be resumed."""

import functools
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mcdm_core.system.writer import make_folder

from ..data import faces, landscapes
from ..vaes import vae_of
from .config import BATCH, DataConfig, Setting
from .drawing import drawn
from .jobs import Job, Samples, batches_of, keep

VERSION = 1  # counts changes to the drawing of samples; those of earlier versions are not used

Drawer = Callable[[Sequence[Job]], Iterable[None]]
"""Draws batches and writes each; yields once for each that is done."""


def draw_samples(
    setting: Setting,
    data: DataConfig,
    experts: Mapping[str, Path],
    count: int,
    out: Path,
    workers: int | Drawer,
    counted: bool = False,
) -> Samples:
    """Sample a setting, or read the samples of an earlier run.

    Args:
        setting: How to sample.
        data: Held-out pictures, the source of the conditions.
        experts: Name → file, of LoRAs as well.
        count: Number of samples.
        out: Folder for the samples.
        workers: Number of processes, each on one thread; or a `Drawer` instead.
        counted: Whether rows are wanted as well; samples whose rows an earlier run has not counted are drawn again.
    """
    make_folder(out)
    counted = counted and setting.rule != "gan"
    key = sample_key(setting, data, experts)
    paths = {batch: out / f"{key}_{batch.start:05d}_{len(batch)}.npy" for batch in batches_of(count)}
    jobs = [Job(setting, data, experts, batch, path, counted) for batch, path in paths.items()]
    missing = [job for job in jobs if not job.is_done]
    if missing:
        done = _in_processes(missing, workers) if isinstance(workers, int) else workers(missing)
        list(tqdm(done, total=len(missing), desc=setting.label, unit="batch"))
    images = np.concatenate([np.load(job.path) for job in jobs])
    rows = np.concatenate([np.load(job.rows_path) for job in jobs]) if counted else np.full(count, np.nan)
    return Samples(images, rows)


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[None]:
    # A forked child inherits the parent's thread pools, which torch cannot use there: spawn.
    context = torch.multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _end_with_main_process) as pool:
        yield from pool.map(_run, jobs)


def _end_with_main_process() -> None:
    """End this process with the main one, also where that is killed and can't say so.

    Ctrl-C reaches all processes and ends this one without a traceback; the main process reports it.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_await_its_end, daemon=True).start()


def _await_its_end() -> None:
    main_process = multiprocessing.parent_process()
    assert main_process is not None
    main_process.join()
    os._exit(1)  # the main thread may be in a pass of minutes, or wait for a batch that never comes


def sample_key(setting: Setting, data: DataConfig, experts: Mapping[str, Path]) -> str:
    """Name of samples on disk, a hash of everything that decides them, including experts' files and the folder."""
    decisive = replace(setting, name="", count=0, vary="", values=(), value=None)
    pictures = replace(data, path="", features="", count=data.count if any(term.shift for term in setting.terms) else 0)
    versions: tuple[int, ...] = (VERSION, faces.DRAWING_VERSION, BATCH)
    if data.kind == "scenes":
        versions += (landscapes.DRAWING_VERSION,)
    digest = hashlib.sha256(f"{decisive!r} {pictures!r} {versions!r}".encode())
    if data.path:
        digest.update(_digest_of_folder(Path(data.path)))
    for term in setting.terms:
        digest.update(_digest(experts[term.expert]))
        for name in term.lora:
            digest.update(_digest(experts[name]))
    if setting.rule != "gan":
        vaes = filter(None, (vae_of(experts[term.expert]) for term in setting.terms))
        digest.update(b"".join(dict.fromkeys(map(_digest, vaes))))
    return digest.hexdigest()[:12]


@functools.cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@functools.cache
def _digest_of_folder(folder: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.digest()


def _run(job: Job) -> None:
    keep(job, drawn(job))

"""Samples of held-out conditions, in parallel processes, each batch written once so that a run can be resumed."""

import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from tqdm import tqdm

from ..checkpoints import load_expert
from ..condition import Condition
from ..experts import Expert
from ..sampling import sample_product
from ..terms import Term

BATCH = 20


class SampleSetting(ABC):
    """How a set of samples is made. A subclass is a frozen dataclass: its name and fields decide `key`.

    Attributes:
        name: Shown in tables.
        weights: Expert name → w.
        count: Number of samples.
        steps: DDIM steps.
        eta: η of DDIM; 0 is its ODE, 1 ancestral sampling.
        noise_seed: Seed of the noise that ancestral sampling adds, to which each batch adds its first index.
    """

    name: str
    weights: dict[str, float]
    count: int
    steps: int
    eta: float
    noise_seed: ClassVar[int] = 0

    @abstractmethod
    def share(self, expert: str) -> float:
        """The expert's reliability a."""

    @abstractmethod
    def condition(self, name: str, expert: Expert, indices: range) -> Condition:
        """What the samples of these indices ask of an expert."""

    def key(self, experts: Path) -> str:
        """Names the samples on disk: changes with the setting and with the experts' files."""
        fields = vars(self) | {"name": "", "weights": dict(sorted(self.weights.items()))}
        described = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        digest = hashlib.sha256(f"{type(self).__name__}({described})".encode())
        for name in sorted(self.weights):
            digest.update((experts / f"{name}.safetensors").read_bytes())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class _Job:
    setting: SampleSetting
    start: int
    experts: Path
    path: Path


def draw_samples(setting: SampleSetting, experts: Path, out: Path, workers: int) -> np.ndarray:
    """Sample a setting, or read what an earlier run has left.

    Args:
        setting: What to sample.
        experts: Folder of expert files.
        out: Folder for the samples.
        workers: Processes, each on one thread.

    Returns:
        uint8, (count, H, W, 3).
    """
    out.mkdir(parents=True, exist_ok=True)
    key = setting.key(experts)
    jobs = [_Job(setting, start, experts, out / f"{key}_{start:05d}.npy") for start in range(0, setting.count, BATCH)]
    missing = [job for job in jobs if not job.path.exists()]
    if missing:
        # A forked child inherits the parent's thread pools, which torch cannot use there: spawn.
        context = torch.multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            list(tqdm(pool.map(_run, missing), total=len(missing), desc=setting.name, unit="batch"))
    return np.concatenate([np.load(job.path) for job in jobs])[: setting.count]


def _run(job: _Job) -> None:
    torch.set_num_threads(1)
    setting = job.setting
    indices = range(job.start, min(job.start + BATCH, setting.count))
    terms = []
    for name, weight in setting.weights.items():
        expert = load_expert(job.experts / f"{name}.safetensors")
        condition = setting.condition(name, expert, indices)
        terms.append(Term(expert, condition, expert.encoder.null(len(indices)), weight, setting.share(name)))
    size = terms[0].expert.image_size
    noise = torch.stack([torch.randn(3, size, size, generator=torch.Generator().manual_seed(i)) for i in indices])
    generator = torch.Generator().manual_seed(setting.noise_seed + job.start)
    samples = sample_product(terms, noise, str(setting.steps), setting.eta, generator)
    partial = job.path.with_suffix(".partial.npy")
    np.save(partial, ((samples + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    partial.replace(job.path)

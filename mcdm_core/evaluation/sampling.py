"""Samples of held-out conditions, in parallel processes, each batch written once so that a run can be resumed."""

import dataclasses
import hashlib
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..checkpoints import load_expert
from ..condition import Condition
from ..experts import Expert
from ..sampling import sample_product
from ..terms import Term
from .held_out import HeldOut, draw_held_out

log = logging.getLogger(__name__)

BATCH = 20


@dataclass(frozen=True)
class Setting:
    """How a set of samples is made.

    Attributes:
        name: Shown in tables.
        weights: Expert name → w; the experts are united with equal reliability.
        first_seed: First of the held-out faces.
        count: Number of samples.
        steps: DDIM steps.
        shifts: Expert name → how many faces further on its condition is taken from (0: the face itself).
        eta: η of DDIM; 0 is its ODE, 1 ancestral sampling.
    """

    name: str
    weights: dict[str, float]
    first_seed: int
    count: int
    steps: int = 100
    shifts: dict[str, int] | None = None
    eta: float = 0.0

    def key(self, experts: Path) -> str:
        """Names the samples on disk: changes with the setting and with the experts' files."""
        weights = dict(sorted(self.weights.items()))
        digest = hashlib.sha256(repr(dataclasses.replace(self, name="", weights=weights)).encode())
        for name in sorted(self.weights):
            digest.update((experts / f"{name}.safetensors").read_bytes())
        return digest.hexdigest()[:12]

    def source(self, index: int, expert: str) -> int:
        """The face whose condition sample `index` takes for this expert."""
        return (index + (self.shifts or {}).get(expert, 0)) % self.count


@dataclass(frozen=True)
class _Job:
    setting: Setting
    start: int
    experts: Path
    path: Path


def draw_samples(setting: Setting, experts: Path, out: Path, workers: int) -> np.ndarray:
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
    faces = draw_held_out(setting.first_seed, setting.count)
    indices = range(job.start, min(job.start + BATCH, setting.count))
    terms = []
    for name, weight in setting.weights.items():
        expert = load_expert(job.experts / f"{name}.safetensors")
        condition = _condition(expert, name, faces, [setting.source(i, name) for i in indices])
        terms.append(Term(expert, condition, condition.null(), weight, 1 / len(setting.weights)))
    size = terms[0].expert.image_size
    noise = torch.stack([torch.randn(3, size, size, generator=torch.Generator().manual_seed(i)) for i in indices])
    generator = torch.Generator().manual_seed(job.start)
    samples = sample_product(terms, noise, str(setting.steps), setting.eta, generator)
    partial = job.path.with_suffix(".partial.npy")
    np.save(partial, ((samples + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    partial.replace(job.path)


def _condition(expert: Expert, name: str, faces: HeldOut, indices: list[int]) -> Condition:
    if expert.encoder.kind == "text":
        return expert.encoder.encode_text([faces.captions[i] for i in indices])
    if expert.encoder.kind == "sketch":
        images = torch.from_numpy(faces.images[indices]).float() / 255
        return expert.encoder.encode_sketch(images)
    return expert.encoder.encode_map(torch.from_numpy(faces.maps[name][indices]).float() / 255)
